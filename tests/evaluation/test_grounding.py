"""Scores of heat maps against oracles: hand-made maps and boxes, letterboxed films, ties, what the crop left out."""

from __future__ import annotations

import numpy as np
import pytest

from crossray.data.geometry import CropWindow, FilmGeometry
from crossray.data.study import Box
from crossray.evaluation.grounding import (
    CNR,
    MASS,
    MIOU,
    POINTING,
    SIGNED_CNR,
    box_mask,
    chance_scores,
    film_heat,
    map_scores,
    off_film,
    stretched,
)

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
WIDE = FilmGeometry(40, 80, 40, 80, 80)  # film on rows 20..60 of the square
WHOLE = CropWindow.whole(80)


def test_scores_of_a_map_made_by_hand() -> None:
    heat = np.array([[1.0, 0.6, 0.0], [0.4, 0.0, 0.0]])
    inside = np.array([[True, True, False], [False, False, False]])
    scores = map_scores(heat, inside, THRESHOLDS)
    assert scores[POINTING] == 1
    noise = np.sqrt(0.04 + np.var([0, 0.4, 0, 0]))
    assert scores[CNR] == pytest.approx((0.8 - 0.1) / noise)
    assert scores[SIGNED_CNR] == pytest.approx((0.8 - 0.1) / noise)
    assert scores[MASS] == pytest.approx((1.6 / 2.0) / (2 / 6))
    # Above 0.1, 0.2 and 0.3 three pixels are called, two of them right; above 0.4 and 0.5 exactly the two.
    assert scores[MIOU] == pytest.approx((3 * 2 / 3 + 2 * 1) / 5)


def test_a_map_that_avoids_the_box_has_negative_contrast_and_the_same_cnr() -> None:
    heat = np.array([[1.0, 0.6, 0.0], [0.4, 0.0, 0.0]])
    inside = np.array([[True, True, False], [False, False, False]])
    right, wrong = map_scores(heat, inside, THRESHOLDS), map_scores(1 - heat, inside, THRESHOLDS)
    assert wrong[SIGNED_CNR] == pytest.approx(-right[SIGNED_CNR])
    assert wrong[CNR] == pytest.approx(right[CNR])
    assert (wrong[POINTING], right[POINTING]) == (0, 1)


def test_tied_maxima_count_by_their_share_or_as_the_rule_says() -> None:
    heat = np.array([[1.0, 1.0, 1.0, 0.0]])
    inside = np.array([[True, False, False, False]])
    by_rule = {ties: map_scores(heat, inside, THRESHOLDS, ties)[POINTING] for ties in ("expected", "pessimistic")}
    assert by_rule == {"expected": pytest.approx(1 / 3), "pessimistic": 0}
    assert map_scores(heat, inside, THRESHOLDS, "optimistic")[POINTING] == 1


def test_a_flat_map_scores_exactly_chance_however_it_is_interpolated() -> None:
    inside = box_mask(WIDE, [Box("x", 3.0, 4.0, 33.0, 17.0)])
    flat = film_heat(np.full((7, 7), 0.3), WIDE, CropWindow(7.0, 5.0, 66.0))
    scores = map_scores(flat, inside, THRESHOLDS)
    wanted = chance_scores(np.array([inside.mean()]))
    assert scores == {name: pytest.approx(values[0], abs=1e-15) for name, values in wanted.items()}
    assert scores[POINTING] == pytest.approx(30 * 13 / (40 * 80))


def test_scale_and_shift_of_a_map_change_no_score() -> None:
    heat = np.random.default_rng(0).random((5, 5))
    inside = box_mask(WIDE, [Box("x", 10.0, 4.0, 50.0, 30.0)])
    scores, moved = (map_scores(film_heat(map_, WIDE, WHOLE), inside, THRESHOLDS) for map_ in (heat, 1e-3 * heat - 0.7))
    assert moved == {name: pytest.approx(value, rel=1e-5) for name, value in scores.items()}


def test_a_region_lands_on_its_place_of_a_letterboxed_film() -> None:
    heat = np.zeros((8, 8))
    heat[3, 6] = 1.0  # square rows 30..40, columns 60..70: film rows 10..20, columns 60..70
    full = film_heat(heat, WIDE, WHOLE)
    assert full.shape == (40, 80)
    assert (full.min(), full.max()) == (0.0, 1.0)
    rows, columns = np.nonzero(full >= full.max() - 1e-6)
    assert set(rows.tolist()) <= {14, 15}
    assert set(columns.tolist()) <= {64, 65}
    assert map_scores(full, box_mask(WIDE, [Box("x", 60.0, 10.0, 70.0, 20.0)]), THRESHOLDS)[POINTING] == 1
    # Bilinear between the centres of two regions, 10 px apart.
    assert full[15, 59] / full[15, 64] == pytest.approx((10 - 5.5) / (10 - 0.5), rel=1e-5)


def test_a_film_of_another_size_than_its_square_is_scored_on_its_own_pixels() -> None:
    geometry = FilmGeometry(300, 150, 300, 150, 40)  # film on columns 10..30 of a square of 40
    heat = np.zeros((4, 4))
    heat[0, 1] = 1.0  # square columns 10..20, rows 0..10: film columns 0..75, rows 0..75
    full = film_heat(heat, geometry, CropWindow.whole(40))
    assert full.shape == (300, 150)
    assert map_scores(full, box_mask(geometry, [Box("x", 0.0, 0.0, 75.0, 75.0)]), THRESHOLDS)[POINTING] == 1
    assert map_scores(full, box_mask(geometry, [Box("x", 75.0, 0.0, 150.0, 75.0)]), THRESHOLDS)[POINTING] == 0


def test_a_box_outside_the_crop_is_missed() -> None:
    heat = np.random.default_rng(1).random((4, 4)) + 5.0
    window = CropWindow(20.0, 20.0, 40.0)
    full = film_heat(heat, WIDE, window)
    beyond = box_mask(WIDE, [Box("x", 0.0, 0.0, 15.0, 40.0)])
    assert np.array_equal(np.unique(full[beyond]), [0.0])
    scores = map_scores(full, beyond, THRESHOLDS)
    assert scores[POINTING] == 0
    assert scores[MASS] == 0
    assert scores[SIGNED_CNR] < 0


def test_a_maximum_in_the_padding_is_told_and_the_films_own_maximum_is_scored() -> None:
    heat = np.zeros((8, 8))
    heat[0, 0], heat[4, 2] = 2.0, 1.0  # regions of rows 0 and 1 show padding only
    assert off_film(heat, WIDE, WHOLE) == 1
    assert map_scores(film_heat(heat, WIDE, WHOLE), box_mask(WIDE, [Box("x", 20, 20, 30, 30)]), (0.5,))[POINTING] == 1
    heat[0, 0] = 1.0
    assert off_film(heat, WIDE, WHOLE) == 0.5
    assert off_film(np.zeros((8, 8)), WIDE, WHOLE) == 0.5, "a flat map names four rows of padding and four of film"


def test_a_map_that_is_not_finite_is_refused() -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinity"):
            stretched(np.array([[0.0, value]]))


def test_contrast_is_undefined_without_an_outside_or_without_noise() -> None:
    heat = np.array([[1.0, 0.0]])
    everywhere = map_scores(heat, np.array([[True, True]]), THRESHOLDS)
    assert np.isnan(everywhere[CNR])
    assert (everywhere[POINTING], everywhere[MASS]) == (1, 1)
    assert np.isnan(map_scores(heat, np.array([[True, False]]), THRESHOLDS)[SIGNED_CNR])


def test_boxes_are_clipped_to_the_film_and_joined() -> None:
    mask = box_mask(
        WIDE, [Box("a", -5.0, -5.0, 2.0, 3.0), Box("b", 1.0, 2.0, 4.5, 4.0), Box("c", 90.0, 0.0, 95.0, 9.0)]
    )
    wanted = np.zeros((40, 80), dtype=bool)
    wanted[:3, :2] = True
    wanted[2:4, 1:5] = True
    assert np.array_equal(mask, wanted)
