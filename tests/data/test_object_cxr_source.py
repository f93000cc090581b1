from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.masks import FixedSize
from crossray.data.sources.object_cxr import ObjectCxrOptions, ObjectCxrSource
from crossray.data.sources.object_cxr_shapes import EllipseMask, object_boxes, object_mask, parse_annotation
from crossray.data.store import Store
from crossray.data.study import Box
from crossray.data.twins.object_cxr import ELLIPSE, POLYGON, TwinFilm, films
from crossray.errors import DataError
from tests.data.twins import CONFIG, found_in, make_twin, replace_in

TWIN, UNCHECKED = ObjectCxrOptions(expected_counts="twin"), ObjectCxrOptions(expected_counts="none")
LEGACY = ObjectCxrOptions(expected_counts="none", legacy=True)
SIZE = FixedSize(40, 60)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("object") / "twin"
    make_twin("object_cxr", folder)
    return folder


@pytest.fixture
def copy(twin: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin, tmp_path / "copy"))


def sides(numbers: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of an object of the twin."""
    xs, ys = numbers[1::2], numbers[2::2]
    return min(xs), min(ys), max(xs), max(ys)


def drawn(film: TwinFilm) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """``[height, width]`` bool twice: what must be inside, and what may be (a polygon's outline is left to choice)."""
    height, width = film.pixels.shape
    y, x = np.mgrid[:height, :width]
    must, may = np.zeros((height, width), dtype=np.bool_), np.zeros((height, width), dtype=np.bool_)
    for numbers in film.objects:
        left, top, right, bottom = sides(numbers)
        if numbers[0] == ELLIPSE:
            across, down = (2 * x + 1 - left - right) / (right - left), (2 * y + 1 - top - bottom) / (bottom - top)
            must |= across**2 + down**2 <= 1
        elif numbers[0] == POLYGON:
            outline, points = Outline(np.array(numbers[1:]).reshape(-1, 2)), np.stack([x.ravel(), y.ravel()], axis=1)
            must |= outline.contains_points(points).reshape(height, width)
            for radius in (-1.0, 1.0):  # which of the two widens depends on the direction of the corners
                may |= outline.contains_points(points, radius=radius).reshape(height, width)
        else:
            must |= (left <= x) & (x < right) & (top <= y) & (y < bottom)
    return must, must | may


def test_every_film_of_the_twin_is_read_back(twin: Path) -> None:
    found = found_in(ObjectCxrSource(twin, TWIN))
    assert (found.rejected, found.remarks) == ([], [])
    made = films(CONFIG)
    assert list(found.studies) == [film.name[:-4] for film in made]
    assert {len(film.objects) for film in made} == {0, 1, 2}
    assert {film.pixels.shape for film in made} > {made[0].pixels.shape}
    for study, film in zip(found.studies.values(), made, strict=True):
        expected = tuple(Box("Foreign Object", *map(float, sides(numbers))) for numbers in film.objects)
        assert (study.films[0].boxes, study.labels) == (expected, {"Foreign Object": float(bool(film.objects))})
        assert study.attributes == {"publisher_split": "train" if film.part == "train" else "validate"}
        assert (study.patient_id, study.report.text) == (None, "")
        assert study.films[0].pixels.read().shape == film.pixels.shape


def test_masks_have_the_true_shapes_pixel_by_pixel(twin: Path) -> None:
    kinds = set()
    for study, film in zip(found_in(ObjectCxrSource(twin, TWIN)).studies.values(), films(CONFIG), strict=True):
        mask = study.films[0].masks["foreign_object"].read()
        must, may = drawn(film)
        assert set(np.unique(mask)) <= {0, 255}
        assert ((mask > 0) >= must).all()
        assert ((mask > 0) <= may).all()
        kinds |= {numbers[0] for numbers in film.objects}
    assert kinds == {0, 1, 2}


def test_an_ellipse_covers_the_area_of_an_ellipse() -> None:
    mask = EllipseMask((Box("", 10.0, 5.0, 50.0, 35.0),), SIZE).read()
    assert np.count_nonzero(mask) == pytest.approx(np.pi * 20 * 15, rel=0.01)
    np.testing.assert_array_equal(mask, mask[::-1])
    np.testing.assert_array_equal(mask, mask[:, ::-1])
    beyond = EllipseMask((Box("", -20.0, -15.0, 20.0, 15.0), Box("", 70.0, 0.0, 90.0, 9.0)), SIZE).read()
    np.testing.assert_array_equal(beyond[:15, :20], mask[20:35, 30:50])
    assert np.count_nonzero(beyond) == np.count_nonzero(mask[20:35, 30:50])


def test_legacy_exchanges_width_and_height_of_boxes() -> None:
    objects = parse_annotation("0 5 6 15 9;2 1 2 7 2 4 12")
    assert object_boxes(objects, legacy=False) == (
        Box("Foreign Object", 5, 6, 15, 9),
        Box("Foreign Object", 1, 2, 7, 12),
    )
    assert object_boxes(objects, legacy=True) == (
        Box("Foreign Object", 5, 6, 8, 16),
        Box("Foreign Object", 1, 2, 11, 8),
    )


def test_legacy_fills_ellipses_as_rectangles_and_exchanges_x_and_y_of_polygons() -> None:
    ellipse, polygon = "1 5 6 15 30", "2 20 2 50 2 50 12 20 12"
    as_box = object_mask(parse_annotation(ellipse.replace("1", "0", 1)), SIZE, legacy=False).read()
    np.testing.assert_array_equal(object_mask(parse_annotation(ellipse), SIZE, legacy=True).read(), as_box)
    assert np.count_nonzero(object_mask(parse_annotation(ellipse), SIZE, legacy=False).read()) < np.count_nonzero(
        as_box
    )
    true = object_mask(parse_annotation(polygon), FixedSize(60, 60), legacy=False).read()
    exchanged = object_mask(parse_annotation(polygon), FixedSize(60, 60), legacy=True).read()
    np.testing.assert_array_equal(exchanged, true.T)
    assert (exchanged != true).any()
    both = object_mask(parse_annotation(f"{ellipse};{polygon}"), FixedSize(60, 60), legacy=True).read()
    assert np.count_nonzero(both) > np.count_nonzero(exchanged)


def test_a_legacy_twin_becomes_a_store_though_its_boxes_would_leave_their_films(twin: Path, tmp_path: Path) -> None:
    beyond = [
        film
        for film in films(CONFIG)
        for left, top, right, bottom in map(sides, film.objects)
        if left + bottom - top > film.pixels.shape[1] or top + right - left > film.pixels.shape[0]
    ]
    assert beyond
    source = ObjectCxrSource(twin, LEGACY)
    summary = prepare_store(source, tmp_path / "store", PrepareConfig(size=32), workers=1)
    assert (summary.funnel.study_rules, summary.funnel.studies_out) == ({}, 16)
    assert Store.open(tmp_path / "store").film_count == 16
    assert source.fingerprint() != ObjectCxrSource(twin, UNCHECKED).fingerprint()


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ("3 1 2 3 4", "begins with none of 0 (rectangle), 1 (ellipse) and 2 (polygon)"),
        ("0 1 2 3", "has 3 numbers: a rectangle needs x and y of two corners"),
        ("1 1 2 3 4 5 6", "has 6 numbers: a ellipse needs x and y of two corners"),
        ("2 1 2 3 4", "has 4 numbers: a polygon needs x and y of three corners"),
        ("0 1 2 3 x", "something that is no number"),
        ("0 1 2 1 9", "has no area"),
        ("0 1 2 3 nan", "has 4 numbers"),
        ("0 1 2 9 9;0", "'0' has 0 numbers"),
    ],
)
def test_a_broken_annotation_leaves_its_film_out_and_is_counted(copy: Path, annotation: str, reason: str) -> None:
    replace_in(copy / "train.csv", "00001.jpg,", f"00001.jpg,{annotation}")
    found = found_in(ObjectCxrSource(copy, UNCHECKED))
    (left_out,) = found.rejected
    assert (left_out.study_id, left_out.rule, left_out.file, left_out.row) == (
        "00001",
        "bad_row",
        str(copy / "train.csv"),
        1,
    )
    assert reason in left_out.reason
    with pytest.raises(DataError, match="studies: 16 expected, 15 found"):
        found_in(ObjectCxrSource(copy, TWIN))


def test_corners_in_any_order_give_the_same_box() -> None:
    forth, back = parse_annotation("1 5 6 15 30; 0 2 9 1 3"), parse_annotation("1 15 30 5 6;0 1 3 2 9;")
    assert forth == back


def test_the_name_of_the_first_column_on_the_challenges_page_is_read_too(copy: Path) -> None:
    replace_in(copy / "dev.csv", "image_name", "image_path")
    replace_in(copy / "dev.csv", "00013.jpg", "dev/00013.jpg")
    assert len(found_in(ObjectCxrSource(copy, TWIN)).studies) == 16


def test_films_without_a_row_and_rows_without_a_name_are_listed(copy: Path) -> None:
    replace_in(copy / "dev.csv", "00014.jpg", "")
    found = found_in(ObjectCxrSource(copy, UNCHECKED))
    assert [(item.study_id, item.rule) for item in found.rejected] == [("", "bad_row"), ("00014", "no_label")]
