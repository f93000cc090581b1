"""FROC: the toy of the spec, the walk by hand, the multiset of a draw, and what interpolation does."""

from __future__ import annotations

import numpy as np
import pytest

from crossray.evaluation.detection.boxes import DetectionSet
from crossray.evaluation.detection.froc import LEVELS, froc, froc_curve, interpolated_froc
from crossray.evaluation.intervals import bootstrap_weights
from crossray.evaluation.metrics import FloatArray
from tests.evaluation.detection_oracles import detections, froc_by_hand, random_set, written_out


def _around(x: float, y: float) -> tuple[float, float, float, float]:
    return (x - 1, y - 1, x + 1, y + 1)


def _toy() -> DetectionSet:
    return detections(
        4,
        [(0, (0, 0, 10, 10)), (1, (5, 5, 9, 9)), (1, (20, 20, 30, 30))],
        [
            (0, 0.9, _around(5, 5)),
            (2, 0.8, _around(1, 1)),
            (1, 0.7, _around(7, 7)),
            (3, 0.6, _around(2, 2)),
            (1, 0.5, _around(25, 25)),
        ],
    )


def test_E06_the_toy_of_four_images() -> None:
    assert froc(_toy()).item() == pytest.approx((1 / 3 + 6 * 2 / 3) / 7, abs=1e-12)
    assert froc(_toy()).item() == pytest.approx(0.619048, abs=1e-6)


def test_E06_levels_are_tested_after_every_prediction_hit_or_not() -> None:
    """The toy above does not tell the two readings apart; this one does, by a hit that follows a false alarm."""
    image = (0.0, 0.0, 9.0, 9.0)
    found = detections(
        4,
        [(0, image), (1, image)],
        [(2, 0.9, _around(1, 1)), (0, 0.8, _around(5, 5)), (3, 0.7, _around(1, 1)), (1, 0.6, _around(5, 5))],
    )
    # One false alarm of four images is two levels at once: the second is recorded at the hit. As for 0.5, at the third.
    assert froc(found).item() == pytest.approx((0 + 0.5 * 6) / 7, abs=1e-12)
    assert froc_by_hand(found) == pytest.approx((0 + 0.5 * 6) / 7, abs=1e-12)
    assert froc_by_hand(_toy()) == froc_by_hand(_toy(), after_false_only=True)
    late = detections(
        4,
        [(0, image), (1, image)],
        [(2, 0.9, _around(1, 1)), (0, 0.8, _around(5, 5)), (1, 0.7, _around(5, 5)), (3, 0.6, _around(1, 1))],
    )
    assert froc(late).item() == pytest.approx((0 + 0.5 + 1.0 * 5) / 7, abs=1e-12)
    assert froc_by_hand(late, after_false_only=True) == pytest.approx((0 + 1.0 * 6) / 7, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_it_equals_the_walk_over_a_list(seed: int) -> None:
    found = random_set(seed, images=5 + 4 * seed)
    assert froc(found).item() == pytest.approx(froc_by_hand(found), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_a_draw_of_patients_equals_the_images_written_out_as_often(ties: bool) -> None:
    found = random_set(9, ties=ties)
    weights = bootstrap_weights([f"p{image // 2}" for image in range(found.images)], draws=20, seed=0)
    for score in (froc, interpolated_froc):
        draws = score(found, weights)
        for draw, copies in zip(draws, weights, strict=True):
            drawn = written_out(found, copies.astype(np.int64))
            assert draw == pytest.approx(score(drawn).item(), abs=1e-12)


def test_repeated_hits_are_neutral_and_negatives_are_images() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    once = detections(2, [(0, box)], [(0, 0.9, _around(4, 4)), (1, 0.5, _around(4, 4))])
    again = detections(2, [(0, box)], [(0, 0.9, _around(4, 4)), (0, 0.8, _around(5, 5)), (1, 0.5, _around(4, 4))])
    assert froc(once).item() == froc(again).item() == 1.0
    assert froc_curve(again).false_per_image[-1] == 0.5


def test_without_a_false_alarm_the_final_sensitivity_is_taken() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    assert froc(detections(2, [(0, box), (1, box)], [(0, 0.9, _around(4, 4))])).item() == 0.5
    assert froc(detections(2, [(0, box)], [])).item() == 0
    assert interpolated_froc(detections(2, [(0, box)], [])).item() == 0


def test_among_equals_false_alarms_come_first_whatever_the_order_of_files() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    listed = [(0, 0.5, _around(4, 4)), (1, 0.5, _around(4, 4))]
    values = [froc(detections(2, [(0, box)], order)).item() for order in (listed, listed[::-1])]
    # 0.125 is recorded at the false alarm, when nothing is found; 0.25 at the hit, and so for the rest.
    assert values == [pytest.approx(6 / 7)] * 2


def _interpolated_by_hand(found: DetectionSet) -> float:
    curve = froc_curve(found)
    values = []
    for level in LEVELS:
        below = max(k for k, false in enumerate(curve.false_per_image) if false <= level)
        value = curve.sensitivity[below]
        if below + 1 < len(curve.false_per_image):
            span = curve.false_per_image[below + 1] - curve.false_per_image[below]
            share = (level - curve.false_per_image[below]) / span
            value += share * (curve.sensitivity[below + 1] - curve.sensitivity[below])
        values.append(value)
    return float(np.mean(values))


@pytest.mark.parametrize("seed", range(4))
def test_interpolation_equals_straight_lines_drawn_by_hand(seed: int) -> None:
    found = random_set(seed, images=9)
    assert interpolated_froc(found).item() == pytest.approx(_interpolated_by_hand(found), abs=1e-12)


def test_the_curve_rises_from_nothing_to_all_that_was_found() -> None:
    curve = froc_curve(random_set(2))
    assert curve.false_per_image[0] == curve.sensitivity[0] == 0
    assert (np.diff(curve.false_per_image) >= 0).all()
    assert (np.diff(curve.sensitivity) >= 0).all()
    assert 0 < curve.sensitivity[-1] <= 1


def test_a_draw_without_target_is_undefined_and_half_an_image_is_refused() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    found = detections(2, [(0, box)], [(1, 0.5, _around(4, 4))])
    weights: FloatArray = np.array([[0.0, 2.0]])
    assert np.isnan(froc(found, weights)).all()
    with pytest.raises(ValueError, match="whole numbers"):
        froc(found, weights / 4)
