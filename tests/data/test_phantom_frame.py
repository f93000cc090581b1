"""Tubes and windows on the film: what is laid down is what was asked for, wherever it falls."""

from __future__ import annotations

import numpy as np
import pytest

from crossray.data.phantom.frame import FilmFrame, Tubes, from_coarse, tube_field

FRAME = FilmFrame(height=120, width=100, scale=80.0, origin_x=48.0, origin_y=20.0, tilt=0.05)


def straight_tube(x: tuple[float, float], y: tuple[float, float], radius: float) -> Tubes:
    place = np.linspace(0, 1, 9)[None]
    return Tubes(
        x[0] + (x[1] - x[0]) * place, y[0] + (y[1] - y[0]) * place, np.full((1, 9), radius), np.full((1, 9), 0.5)
    )


def test_a_tube_holds_its_volume() -> None:
    field = tube_field(FRAME, straight_tube((-0.2, 0.3), (0.2, 0.8), 0.05))
    length, half_circle = np.hypot(0.5, 0.6), np.pi / 4
    assert field.sum() == pytest.approx(length * 2 * 0.05 * 0.5 * half_circle * 80**2, rel=0.05)


def test_a_tube_is_as_thick_at_its_axis_as_said() -> None:
    field = tube_field(FRAME, straight_tube((-0.4, 0.4), (0.5, 0.5), 0.08))
    column, row = FRAME.to_pixels(np.array([0.0]), np.array([0.5]))
    assert field[int(row[0]), int(column[0])] == pytest.approx(0.5, rel=0.06)


def test_a_cortical_tube_is_brighter_at_its_edges_than_at_its_axis() -> None:
    field = tube_field(FRAME, straight_tube((0.0, 0.0), (-0.1, 1.1), 0.10), "cortical")
    profile = field[60, 30:66]
    assert profile[len(profile) // 2 - 2 : len(profile) // 2 + 2].mean() < 0.9 * profile.max()


def test_what_lies_outside_the_film_is_not_drawn_and_does_not_wrap_around() -> None:
    inside = tube_field(FRAME, straight_tube((0.0, 0.2), (0.4, 0.5), 0.03))
    assert inside.sum() > 0
    for x, y in (((3.0, 4.0), (0.5, 0.5)), ((0.0, 0.0), (-3.0, -2.0)), ((-5.0, -4.0), (2.0, 3.0))):
        field = tube_field(FRAME, straight_tube(x, y, 0.03))
        assert field.shape == (120, 100)
        assert np.count_nonzero(field) == 0


def test_pixels_of_the_grid_map_back_onto_themselves() -> None:
    x, y = FRAME.grid
    column, row = FRAME.to_pixels(x, y)
    assert np.allclose(column, np.arange(100) + 0.5)
    assert np.allclose(row, np.arange(120)[:, None] + 0.5)


def test_a_window_holds_every_pixel_of_its_rectangle() -> None:
    x, y = FRAME.grid
    rows, columns = FRAME.window(-0.1, 0.3, 0.25, 0.7)
    outside = np.ones((120, 100), dtype=np.bool_)
    outside[rows, columns] = False
    assert not np.any(outside & (x >= -0.1) & (x <= 0.25) & (y >= 0.3) & (y <= 0.7))
    empty = FRAME.window(5.0, 5.0, 6.0, 6.0)
    assert x[empty].size == 0


def test_a_smooth_field_survives_the_coarse_grid() -> None:
    for frame in (FRAME, FilmFrame(61, 83, 50.0, 40.0, 10.0, -0.03)):
        x, y = frame.coarse().grid
        fine_x, fine_y = frame.grid
        field = from_coarse(np.sin(2 * x) + y, frame)
        assert field.shape == fine_x.shape
        inner = (slice(2, -2), slice(2, -2))
        assert np.allclose(field[inner], (np.sin(2 * fine_x) + fine_y)[inner], atol=2e-3)
