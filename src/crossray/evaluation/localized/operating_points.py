"""Operating points of a protocol's first run: thresholds chosen on its validation films, applied to its test films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from crossray.errors import DataError
from crossray.evaluation.classification.binary import binary_counts
from crossray.evaluation.classification.operating import OperatingRule, choose_thresholds
from crossray.evaluation.detection.boxes import DetectionSet
from crossray.evaluation.detection.precision_recall import FALSE_BOXES, measures_at, precision_recall_curve
from crossray.evaluation.intervals import Interval, percentile_interval
from crossray.evaluation.metrics import FloatArray

RULES = (
    OperatingRule(kind="youden"),
    OperatingRule(kind="sensitivity", target=0.9),
    OperatingRule(kind="specificity", target=0.9),
)
"""Of labels."""

BOX_RULE = "best F1 of boxes on validation"


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold of one target.

    Attributes:
        target: label or class of boxes.
        rule: how the threshold was chosen, in words; if it could not be, why.
        threshold: a probability or a confidence; ``None`` if none could be chosen.
        measures: what it is worth on the test films, with the threshold held.
    """

    target: str
    rule: str
    threshold: float | None = None
    measures: Mapping[str, Interval] | None = None

    def shown(self, name: str) -> str:
        """A measure with its interval; shares are per cent, false boxes a film are a number."""
        measure = (self.measures or {}).get(name)
        if measure is None or np.isnan(measure.estimate):
            return "–"
        if name == FALSE_BOXES:
            return f"{measure.estimate:.2f} [{measure.low:.2f} to {measure.high:.2f}]"
        return f"{100 * measure.estimate:.1f} [{100 * measure.low:.1f} to {100 * measure.high:.1f}]"


def label_points(
    validation: tuple[FloatArray, FloatArray],
    test: tuple[FloatArray, FloatArray],
    targets: Sequence[str],
    weights: FloatArray,
    level: float,
) -> list[OperatingPoint]:
    """Points of every label by every rule of :data:`RULES`.

    Args:
        validation, test: logits and labels, each ``[n, K]``; labels NaN where unknown.
        targets: the K labels.
        weights: ``[1 + draws, n]`` of the test films, the estimate first.
        level: of the intervals.
    """
    points = []
    for column, target in enumerate(targets):
        own = slice(column, column + 1)
        for rule in RULES:
            try:
                chosen = choose_thresholds(validation[0][:, own], validation[1][:, own], rule)
            except DataError:
                points.append(OperatingPoint(target, "none: validation has one class only"))
                break
            counted = binary_counts(test[0][:, own], test[1][:, own], chosen, weights)
            measures = {name: values[:, 0] for name, values in counted.measures().items()}
            points.append(OperatingPoint(target, rule.name, float(expit(chosen[0])), _intervals(measures, level)))
    return points


def box_points(
    validation: Mapping[str, DetectionSet], test: Mapping[str, DetectionSet], weights: FloatArray, level: float
) -> list[OperatingPoint]:
    """The point of every class of boxes of the test films, by the best F1 at an IoU of 0.5 on validation."""
    points = []
    for target, found in test.items():
        chosen = precision_recall_curve(validation[target]).best_f1() if target in validation else float("inf")
        if chosen == float("inf"):
            points.append(OperatingPoint(target, "none: no box was found on validation"))
        else:
            measures = _intervals(measures_at(found, chosen, weights), level)
            points.append(OperatingPoint(target, BOX_RULE, chosen, measures))
    return points


def _intervals(measures: Mapping[str, FloatArray], level: float) -> dict[str, Interval]:
    return {name: percentile_interval(float(values[0]), values[1:], level) for name, values in measures.items()}
