"""Operating points: thresholds come from validation alone, and what they are worth from the test films alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from crossray.evaluation.classification.operating import choose_thresholds
from crossray.evaluation.detection.precision_recall import FALSE_BOXES
from crossray.evaluation.localized.measures import estimate_and_draws
from crossray.evaluation.localized.operating_points import RULES, box_points, label_points
from crossray.evaluation.metrics import FloatArray
from tests.evaluation.detection_oracles import detections, random_set

Side = tuple[FloatArray, FloatArray]


def side(seed: int, films: int = 60) -> Side:
    generator = np.random.default_rng(seed)
    labels = (generator.random((films, 2)) < 0.4).astype(np.float64)
    labels[:3, 1] = np.nan
    return np.nan_to_num(labels) + generator.normal(size=labels.shape), labels


def test_every_label_has_a_point_by_every_rule_with_the_threshold_of_validation() -> None:
    validation, test = side(0), side(1)
    weights = estimate_and_draws([None] * 60, 50, 0, "x")
    points = label_points(validation, test, ("a", "b"), weights, 0.95)
    assert [(point.target, point.rule) for point in points] == [(t, rule.name) for t in "ab" for rule in RULES]
    logits = np.array([[choose_thresholds(*validation, rule)[k] for rule in RULES] for k in (0, 1)]).ravel()
    known = ~np.isnan(test[1])
    for point, logit in zip(points, logits, strict=True):
        assert point.threshold == pytest.approx(1 / (1 + np.exp(-logit)))
        column = "ab".index(point.target)
        truth, called = test[1][known[:, column], column], test[0][known[:, column], column] >= logit
        assert point.measures is not None
        assert point.measures["sensitivity"].estimate == pytest.approx(recall_score(truth, called))
        assert point.measures["positive predictive value"].estimate == pytest.approx(precision_score(truth, called))
        found = point.measures["specificity"]
        assert found.low <= found.estimate <= found.high
    measures = points[0].measures
    assert measures is not None
    assert points[0].shown("sensitivity").startswith(f"{100 * measures['sensitivity'].estimate:.1f} [")


def test_a_label_of_one_class_on_validation_has_none_and_the_reason_is_said() -> None:
    scores, labels = side(0)
    labels[:, 1] = 0
    points = label_points((scores, labels), side(1), ("a", "b"), np.ones((1, 60)), 0.95)
    assert len(points) == len(RULES) + 1
    assert (points[-1].rule, points[-1].threshold) == ("none: validation has one class only", None)
    assert points[-1].shown("sensitivity") == "–"


def test_boxes_are_called_at_the_best_confidence_of_validation() -> None:
    box = (0.0, 0.0, 9.0, 9.0)
    validation = detections(2, [(0, box)], [(0, 0.6, box), (1, 0.5, box)])
    test = detections(2, [(0, box), (1, box)], [(0, 0.7, box), (1, 0.55, box), (1, 0.65, (40.0, 40.0, 49.0, 49.0))])
    (point,) = box_points({"opacity": validation}, {"opacity": test}, np.ones((1, 2)), 0.95)
    assert point.threshold == 0.6
    assert point.measures is not None
    assert {name: found.estimate for name, found in point.measures.items()} == {
        "precision": 0.5, "recall": 0.5, "F1": 0.5, FALSE_BOXES: 0.5,
    }  # fmt: skip
    assert point.shown(FALSE_BOXES).startswith("0.50 [")
    (none,) = box_points({}, {"opacity": random_set(0)}, np.ones((1, 12)), 0.95)
    assert none.rule == "none: no box was found on validation"
