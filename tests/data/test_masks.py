from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from crossray.data.images import FilmPixels
from crossray.data.run_length import RunLengthError, decode_relative_runs, encode_relative_runs
from crossray.data.sources.masks import (
    BoxMask,
    FixedSize,
    MaskError,
    PictureMask,
    PolygonMask,
    RunLengthMask,
    SizeOfFilm,
    UnionMask,
)
from crossray.data.study import Box, MaskSource
from crossray.data.twins.files import write_dicom, write_png
from crossray.errors import StudyError

SIZE = FixedSize(6, 8)


def test_E8_relative_runs_go_down_the_columns() -> None:
    assert np.flatnonzero(decode_relative_runs("3 2 4 1", 1024 * 1024)).tolist() == [3, 4, 9]
    mask = RunLengthMask(("3 2 4 1",), FixedSize(1024, 1024)).read()
    assert np.argwhere(mask == 255).tolist() == [[3, 0], [4, 0], [9, 0]]


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_runs_are_decoded_to_what_was_encoded(pixels: list[bool]) -> None:
    inside = np.array(pixels)
    np.testing.assert_array_equal(decode_relative_runs(encode_relative_runs(inside), len(inside)), inside)


@pytest.mark.parametrize("code", ["-1", " -1", "-1 "])
def test_minus_one_is_empty_with_and_without_a_blank(code: str) -> None:
    assert not RunLengthMask((code,), SIZE).read().any()


@pytest.mark.parametrize("code", ["", "3", "3 x", "3 -2", "40 9", "1 2 99999999999 1", "9" * 30 + " 1"])
def test_a_code_that_is_none_is_refused(code: str) -> None:
    with pytest.raises(RunLengthError):
        decode_relative_runs(code, 48)


def test_several_codes_of_a_film_are_joined() -> None:
    mask = RunLengthMask(("0 2", "6 1", "-1"), SIZE).read()
    assert np.argwhere(mask == 255).tolist() == [[0, 0], [0, 1], [1, 0]]


def test_boxes_are_filled_as_the_protocol_rounds_them() -> None:
    boxes = (Box("opacity", 1.4, 0.6, 3.4, 2.6), Box("opacity", 6.0, 4.0, 20.0, 20.0))
    mask = BoxMask(boxes, SIZE).read()
    expected = np.zeros((6, 8), dtype=np.uint8)
    expected[1:3, 1:3] = 255
    expected[4:, 6:] = 255
    np.testing.assert_array_equal(mask, expected)


def test_polygons_are_filled_with_x_to_the_right() -> None:
    mask = PolygonMask((((1, 1), (6, 1), (6, 2), (1, 2)),), SIZE).read()
    assert mask.shape == (6, 8)
    assert set(zip(*np.nonzero(mask), strict=True)) == {(row, column) for row in (1, 2) for column in range(1, 7)}
    with pytest.raises(MaskError, match="2 corners"):
        PolygonMask((((1, 1), (6, 1)),), SIZE).read()


VALUES = np.array([[0, 1, 127], [0, 255, 2]], dtype=np.uint8)


def test_a_picture_is_inside_where_it_is_not_black(tmp_path: Path) -> None:
    write_png(tmp_path / "grey.png", VALUES)
    write_png(tmp_path / "colour.png", np.stack([VALUES, 0 * VALUES, 0 * VALUES], axis=2))
    Image.fromarray(VALUES > 0).save(tmp_path / "bits.png")
    two = Image.fromarray((VALUES > 0).astype(np.uint8), mode="P")
    two.putpalette([0, 0, 0, 255, 255, 255])
    two.save(tmp_path / "palette.gif")
    for name in ("grey.png", "colour.png", "bits.png", "palette.gif"):
        np.testing.assert_array_equal(PictureMask(tmp_path / name).read(), np.where(VALUES > 0, 255, 0))
    kept = PictureMask(tmp_path / "grey.png", keeps_ignore=True).read()
    np.testing.assert_array_equal(kept, [[0, 255, 127], [0, 255, 255]])


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name, problem in (("cut.png", "damaged"), ("absent.png", "cannot be read")):
        with pytest.raises(StudyError, match=problem):
            PictureMask(tmp_path / name).read()


def test_a_union_prefers_inside_to_ignore_to_outside(tmp_path: Path) -> None:
    write_png(tmp_path / "ignore.png", np.full((6, 8), 127, dtype=np.uint8))
    parts = (PictureMask(tmp_path / "ignore.png", keeps_ignore=True), RunLengthMask(("0 2",), SIZE))
    assert UnionMask(parts).read()[:3, 0].tolist() == [255, 255, 127]
    with pytest.raises(MaskError, match="sizes"):
        UnionMask((*parts, RunLengthMask(("-1",), FixedSize(6, 9)))).read()
    with pytest.raises(MaskError, match="none"):
        UnionMask(()).read()


def test_the_size_may_come_from_the_films_file(tmp_path: Path) -> None:
    film = np.zeros((12, 10), dtype=np.uint8)
    write_png(tmp_path / "film.png", film)
    write_dicom(tmp_path / "film.dcm", film)
    assert SizeOfFilm(tmp_path / "film.png").read() == (12, 10)
    assert SizeOfFilm(tmp_path / "film.dcm").read() == (12, 10)


def test_the_size_is_told_by_the_header_of_a_film_upright_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (90, 60), dtype=np.uint8)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(noise).save(path, exif=exif)
        assert SizeOfFilm(path).read() == FilmPixels(path).read().shape
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(StudyError, match="cut short"):
        FilmPixels(path).read()
    assert SizeOfFilm(path).read() == (60, 90)


def test_masks_travel_to_worker_processes(tmp_path: Path) -> None:
    masks: list[MaskSource] = [
        BoxMask((Box("a", 0, 0, 2, 2),), SIZE),
        PolygonMask((((0, 0), (3, 0), (3, 3)),), SIZE),
        UnionMask((RunLengthMask(("0 2",), SIZE),)),
    ]
    for mask in masks:
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(mask)).read(), mask.read())
