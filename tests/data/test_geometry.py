"""The mapping between original film, file and prepared square."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossray.data.geometry import CropWindow, FilmGeometry, prepare_film, prepare_mask
from crossray.data.study import Box
from crossray.errors import StudyError

PREPARED = 224

#: (original height, original width, file height, file width): five sizes and aspects, squeezed and not.
FILMS = [
    (512, 512, 512, 512),
    (1024, 768, 1024, 768),
    (620, 1400, 620, 1400),
    (2048, 2500, 256, 256),
    (1201, 333, 300, 280),
]

sides = st.integers(min_value=1, max_value=5000)
geometries = st.builds(FilmGeometry, sides, sides, sides, sides, st.integers(min_value=16, max_value=1024))
points = st.lists(st.tuples(st.floats(-100, 6000), st.floats(-100, 6000)), min_size=1, max_size=5)


def film_with_square(film: tuple[int, int, int, int], box: Box) -> NDArray[np.uint8]:
    """The file's pixels: black, with the box (original pixels) drawn white."""
    original_height, original_width, height, width = film
    pixels = np.zeros((height, width), dtype=np.uint8)
    y = (np.arange(height) + 0.5) * original_height / height
    x = (np.arange(width) + 0.5) * original_width / width
    inside_y, inside_x = (y > box.y_min) & (y < box.y_max), (x > box.x_min) & (x < box.x_max)
    pixels[np.ix_(inside_y, inside_x)] = 255
    return pixels


def square_on(film: tuple[int, int, int, int]) -> Box:
    """A square of a quarter of the short side, left of and below the middle."""
    height, width = film[:2]
    side = min(height, width) / 4
    return Box("square", 0.3 * width, 0.55 * height, 0.3 * width + side, 0.55 * height + side)


@given(geometries, points)
@settings(deadline=None)
def test_points_return_from_the_prepared_square(geometry: FilmGeometry, xy: list[tuple[float, float]]) -> None:
    there = np.array(xy)
    np.testing.assert_allclose(geometry.to_original(geometry.to_prepared(there)), there, rtol=1e-9, atol=1e-6)


@given(geometries, points)
@settings(deadline=None)
def test_points_return_from_the_file(geometry: FilmGeometry, xy: list[tuple[float, float]]) -> None:
    there = np.array(xy)
    np.testing.assert_allclose(geometry.file_to_original(geometry.original_to_file(there)), there, rtol=1e-9, atol=1e-6)


@given(geometries)
@settings(deadline=None)
def test_the_film_fills_the_content_box_exactly(geometry: FilmGeometry) -> None:
    x0, y0, x1, y1 = geometry.content_box()
    corners = np.array([[0.0, 0.0], [geometry.original_width, geometry.original_height]])
    np.testing.assert_allclose(geometry.to_prepared(corners), [[x0, y0], [x1, y1]], atol=1e-9)
    assert max(x1 - x0, y1 - y0) == geometry.prepared_size
    assert abs(x0 - (geometry.prepared_size - x1)) <= 1
    assert abs(y0 - (geometry.prepared_size - y1)) <= 1


@given(geometries)
@settings(deadline=None)
def test_boxes_return_and_keep_their_label(geometry: FilmGeometry) -> None:
    box = Box("nodule", 1.0, 2.0, 30.0, 50.0)
    (back,) = geometry.boxes_to_original(geometry.boxes_to_prepared([box]))
    assert back.label == "nodule"
    np.testing.assert_allclose(
        [back.x_min, back.y_min, back.x_max, back.y_max], [1.0, 2.0, 30.0, 50.0], rtol=1e-9, atol=1e-6
    )


@pytest.mark.parametrize("film", FILMS)
def test_a_known_square_lands_where_its_box_says(film: tuple[int, int, int, int]) -> None:
    box = square_on(film)
    prepared, geometry = prepare_film(film_with_square(film, box), PREPARED, film[0], film[1])
    (expected,) = geometry.boxes_to_prepared([box])
    rows, columns = np.nonzero(prepared > 127)
    # Half a pixel of the coarser grid on either side.
    slack = 0.51 * max(1.0, geometry.content_width / film[3], geometry.content_height / film[2]) + 0.5
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, [expected.x_min, expected.y_min, expected.x_max, expected.y_max], atol=slack)
    width, height = expected.x_max - expected.x_min, expected.y_max - expected.y_min
    assert width == pytest.approx(height, rel=0.02), "the squeeze is undone: a square is a square"


@pytest.mark.parametrize("film", FILMS)
@pytest.mark.parametrize("crop", [CropWindow.whole(PREPARED), CropWindow.centred(PREPARED, 192)])
def test_the_peak_of_a_heat_map_returns_within_a_region(film: tuple[int, int, int, int], crop: CropWindow) -> None:
    box = square_on(film)
    prepared, geometry = prepare_film(film_with_square(film, box), PREPARED, film[0], film[1])
    x0, size, cells = int(crop.x0), int(crop.size), 14
    seen = prepared[x0 : x0 + size, x0 : x0 + size].astype(np.float32)
    block = size // cells
    heat = seen[: cells * block, : cells * block].reshape(cells, block, cells, block).mean(axis=(1, 3))
    crop = CropWindow(crop.x0, crop.y0, float(cells * block))
    full = geometry.map_to_original(heat, crop)
    assert full.shape == film[:2]
    y, x = np.unravel_index(int(full.argmax()), full.shape)
    region = geometry.region_box(0, 0, (cells, cells), crop)
    step_x, step_y = region.x_max - region.x_min, region.y_max - region.y_min
    assert box.x_min - step_x <= x <= box.x_max + step_x
    assert box.y_min - step_y <= y <= box.y_max + step_y


@given(
    geometries.filter(lambda g: g.original_height < 600 and g.original_width < 600),
    st.integers(1, 7),
    st.integers(1, 7),
    st.data(),
)
@settings(max_examples=40, deadline=None)
def test_one_hot_region_peaks_inside_its_own_box(
    geometry: FilmGeometry, rows: int, columns: int, data: st.DataObject
) -> None:
    crop = CropWindow.whole(geometry.prepared_size)
    row, col = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    box = geometry.clip_to_film(geometry.region_box(row, col, (rows, columns), crop))
    assert (box is not None) == bool(geometry.regions_on_film((rows, columns), crop)[row, col])
    heat = np.zeros((rows, columns), dtype=np.float32)
    heat[row, col] = 1.0
    full = geometry.map_to_original(heat, crop)
    if box is None or full.max() == full.min():
        return
    y, x = np.unravel_index(int(full.argmax()), full.shape)
    assert box.x_min - 1 <= x <= box.x_max
    assert box.y_min - 1 <= y <= box.y_max


def test_regions_tile_what_the_model_saw() -> None:
    geometry = FilmGeometry(1000, 800, 1000, 800, PREPARED)
    crop = CropWindow(16.0, 8.0, 192.0)
    first, last = (geometry.region_box(i, i, (6, 6), crop) for i in (0, 5))
    corners = np.array([[16.0, 8.0], [208.0, 200.0]])
    expected = geometry.to_original(corners).ravel()
    np.testing.assert_allclose([first.x_min, first.y_min, last.x_max, last.y_max], expected)
    neighbour = geometry.region_box(0, 1, (6, 6), crop)
    assert neighbour.x_min == pytest.approx(first.x_max)


def test_film_outside_the_crop_gets_the_named_value() -> None:
    geometry = FilmGeometry(100, 100, 100, 100, 100)
    full = geometry.map_to_original(np.ones((2, 2)), CropWindow.centred(100, 50), outside=-1.0)
    assert (full == 1.0).sum() == 50 * 50
    assert (full == -1.0).sum() == 100 * 100 - 50 * 50


def test_a_constant_heat_map_stays_constant_everywhere() -> None:
    geometry = FilmGeometry(333, 777, 100, 120, 64)
    full = geometry.map_to_original(np.full((7, 5), 0.25), CropWindow.whole(64))
    np.testing.assert_allclose(full, 0.25, rtol=1e-6)


def test_a_flat_film_stays_flat_and_its_padding_is_zero() -> None:
    prepared, geometry = prepare_film(np.full((300, 200), 77, dtype=np.uint8), 96)
    x0, y0, x1, y1 = geometry.content_box()
    assert (prepared[y0:y1, x0:x1] == 77).all()
    prepared[y0:y1, x0:x1] = 0
    assert not prepared.any()


def test_shrinking_keeps_the_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 500), dtype=np.uint8)
    prepared, _ = prepare_film(pixels, 96)
    assert prepared.mean() == pytest.approx(pixels.mean(), abs=0.5)


def test_a_film_of_the_prepared_size_is_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    prepared, _ = prepare_film(pixels, 64)
    np.testing.assert_array_equal(prepared, pixels)
    assert prepared is not pixels


@pytest.mark.parametrize("film", FILMS)
def test_mask_and_film_land_on_the_same_pixels(film: tuple[int, int, int, int]) -> None:
    pixels = film_with_square(film, square_on(film))
    prepared, geometry = prepare_film(pixels, PREPARED, film[0], film[1])
    mask = prepare_mask(pixels, geometry)
    assert set(np.unique(mask)) <= {0, 255}
    overlap = ((mask > 127) & (prepared > 127)).sum() / ((mask > 127) | (prepared > 127)).sum()
    assert overlap > 0.93


def test_a_mask_keeps_its_ignore_value() -> None:
    geometry = FilmGeometry(90, 60, 90, 60, 32)
    mask = prepare_mask(np.full((90, 60), 127, dtype=np.uint8), geometry)
    assert set(np.unique(mask)) == {0, 127}


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(StudyError, match=r"mask is 10 x 20 .* film 90 x 60"):
        prepare_mask(np.zeros((10, 20), dtype=np.uint8), FilmGeometry(90, 60, 90, 60, 32))


@pytest.mark.parametrize("sizes", [(0, 5, 5, 5, 5), (5, -1, 5, 5, 5), (5, 5, 5, 5, 0), (10**9, 5, 5, 5, 5)])
def test_an_impossible_size_is_refused(sizes: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(StudyError, match="is not a size of a film"):
        FilmGeometry(*sizes)


def test_half_an_original_shape_is_refused() -> None:
    with pytest.raises(StudyError, match="only one of original_height and original_width"):
        prepare_film(np.zeros((5, 5), dtype=np.uint8), 4, original_height=7)


@pytest.mark.parametrize("pixels", [np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), np.uint16)])
def test_pixels_that_are_not_one_grey_film_are_refused(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(StudyError, match="not one grey 8-bit film"):
        prepare_film(pixels, 4)


def test_a_film_without_pixels_is_refused() -> None:
    with pytest.raises(StudyError, match="is not a size of a film"):
        prepare_film(np.zeros((0, 5), dtype=np.uint8), 4)
