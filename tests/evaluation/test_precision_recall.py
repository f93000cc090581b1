"""Precision and recall of boxes: by hand, against AP, and what a threshold is worth in every draw."""

from __future__ import annotations

import numpy as np
import pytest

from crossray.evaluation.detection.average_precision import RECALL_LEVELS, average_precisions
from crossray.evaluation.detection.precision_recall import FALSE_BOXES, measures_at, precision_recall_curve
from crossray.evaluation.intervals import bootstrap_weights
from tests.evaluation.detection_oracles import detections, random_set, written_out

BOX = (0.0, 0.0, 9.0, 9.0)
FAR = (50.0, 50.0, 59.0, 59.0)


def test_the_curve_of_four_boxes_by_hand() -> None:
    found = detections(3, [(0, BOX), (1, BOX)], [(0, 0.9, BOX), (2, 0.8, BOX), (1, 0.7, BOX), (1, 0.7, FAR)])
    curve = precision_recall_curve(found)
    assert curve.confidence.tolist() == [0.9, 0.8, 0.7]
    assert curve.precision.tolist() == [1, 1 / 2, 2 / 4]
    assert curve.recall.tolist() == [1 / 2, 1 / 2, 1]
    assert curve.best_f1() == 0.9  # F1 is 2/3 there and at 0.7: of equal ones the highest confidence
    assert precision_recall_curve(detections(1, [(0, BOX)], [(0, 0.5, FAR)])).best_f1() == float("inf")
    assert len(precision_recall_curve(detections(1, [(0, BOX)], [])).confidence) == 0


@pytest.mark.parametrize("seed", range(6))
def test_the_area_under_its_envelope_is_average_precision(seed: int) -> None:
    found = random_set(seed, ties=seed % 2 == 1)
    curve = precision_recall_curve(found)
    heights = [curve.precision[curve.recall >= level].max(initial=0.0) for level in RECALL_LEVELS]
    assert np.mean(heights) == pytest.approx(float(average_precisions(found, (0.5,))[0, 0]))


def test_measures_of_a_draw_are_those_of_its_images_written_out_and_lie_on_the_curve() -> None:
    found = random_set(3, images=20, ties=True)
    weights = np.concatenate([np.ones((1, 20)), bootstrap_weights([None] * 20, draws=5, seed=0)])
    measures = measures_at(found, 0.6, weights)
    for row, copies in enumerate(weights.astype(np.int64)):
        drawn = written_out(found, copies)
        curve, last = precision_recall_curve(drawn), int((precision_recall_curve(drawn).confidence >= 0.6).sum()) - 1
        assert measures["precision"][row] == pytest.approx(curve.precision[last])
        assert measures["recall"][row] == pytest.approx(curve.recall[last])
        called = int((drawn.confidence >= 0.6).sum())
        assert measures[FALSE_BOXES][row] == pytest.approx(called * (1 - curve.precision[last]) / drawn.images)
    both = 2 * measures["precision"] * measures["recall"] / (measures["precision"] + measures["recall"])
    np.testing.assert_allclose(measures["F1"], both)


def test_a_threshold_above_all_boxes_finds_nothing() -> None:
    measures = measures_at(random_set(0), 2.0, np.ones((1, 12)))
    assert measures["recall"][0] == measures["F1"][0] == measures[FALSE_BOXES][0] == 0
    assert np.isnan(measures["precision"][0])
