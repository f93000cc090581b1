"""Mean average precision over IoU thresholds, as LoVT publishes it, for the estimate and every bootstrap draw.

Spec: `localized_evaluation.md`, section 4. Predictions are ranked over all images, negatives included, whose every
prediction is a false positive. Predictions of equal confidence are taken in together: what comes first among equals
would depend on the order of the files, and a bootstrap draw is full of equals.

Weights ``[draws, images]`` say how often each image was drawn; the value is exactly that of the images written out so
often. Matching is done once. A draw costs two cumulative sums over the predictions for each threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.detection.boxes import Convention, DetectionSet
from crossray.evaluation.detection.matching import matched
from crossray.evaluation.metrics import FloatArray, quotient

#: 0.40, 0.45, ..., 0.75.
IOU_THRESHOLDS = (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75)

#: The floats of this call, as released: some lie above i/100 by rounding, which can move a small set by 0.003.
RECALL_LEVELS: FloatArray = np.arange(0, 1.01, 0.01)

Scope = Literal["all", "mgca_legacy"]
"""Which images count: ``all``; or those that have both a true box and a prediction, the others being dropped before
anything is ranked, so that false alarms on healthy films and films missed altogether cost nothing (MGCA's code)."""

_ELEMENTS = 4_000_000


def mean_average_precision(
    found: DetectionSet,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
    *,
    convention: Convention = "plus_one",
    scope: Scope = "all",
    weights: FloatArray | None = None,
) -> FloatArray:
    """Mean of :func:`average_precisions` over the thresholds, ``[draws]``; (0.5,) and (0.75,) give AP50 and AP75."""
    each = average_precisions(found, thresholds, convention=convention, scope=scope, weights=weights)
    means: FloatArray = each.mean(axis=1)
    return means


def average_precisions(
    found: DetectionSet,
    thresholds: Sequence[float] = IOU_THRESHOLDS,
    *,
    convention: Convention = "plus_one",
    scope: Scope = "all",
    weights: FloatArray | None = None,
) -> FloatArray:
    """Average precision at each threshold: the mean, over 101 recalls, of the best precision at that recall or above.

    Args:
        found: boxes of one class.
        thresholds: T of them; a hit overlaps by more.
        convention: of box sizes; ``plus_one`` as published.
        scope: which images count.
        weights: ``[draws, images]``; ``None`` = every image once, one draw.

    Returns:
        ``[draws, T]``; NaN where a draw holds no true box.
    """
    drawn = np.ones((1, found.images)) if weights is None else np.asarray(weights, dtype=np.float64)
    if scope == "mgca_legacy":
        drawn = drawn * _has_both(found)
    targets = drawn @ found.targets_per_image
    if len(found.image) == 0:
        return np.tile(np.where(targets > 0, 0.0, np.nan)[:, None], (1, len(thresholds)))
    order = np.argsort(-found.confidence, kind="stable")
    hits = matched(found, thresholds, convention)[:, order]
    # The last of each group of equal confidences: there the whole group is in.
    ordered = found.confidence[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    result = np.empty((len(drawn), len(thresholds)))
    for rows in _chunks(len(drawn), len(order)):
        mass = drawn[rows][:, found.image[order]]
        called = np.cumsum(mass, axis=1)[:, ends]
        for column, hit in enumerate(hits):
            true_positive = np.cumsum(mass * hit, axis=1)[:, ends]
            result[rows, column] = _area(true_positive, called, targets[rows])
    return result


def _area(true_positive: FloatArray, called: FloatArray, targets: FloatArray) -> FloatArray:
    """``[draws]`` from cumulative counts ``[draws, S]`` at S confidences, most confident first."""
    precision = np.nan_to_num(quotient(true_positive, called), nan=0.0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Recalls that are never reached have no precision.
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    recall = quotient(true_positive, np.broadcast_to(targets[:, None], true_positive.shape))
    first = np.stack([np.searchsorted(reached, RECALL_LEVELS) for reached in recall])
    area = np.take_along_axis(best, first, axis=1).mean(axis=1)
    return np.where(targets > 0, area, np.nan)


def _has_both(found: DetectionSet) -> NDArray[np.bool_]:
    """``[images]``: whether an image has a true box and a prediction."""
    predicted = np.bincount(found.image, minlength=found.images) > 0
    return predicted & (found.targets_per_image > 0)


def _chunks(draws: int, predictions: int) -> Iterator[slice]:
    """Draws in pieces, so that no more than a few million numbers are held at a time."""
    step = max(1, _ELEMENTS // max(1, predictions))
    yield from (slice(start, start + step) for start in range(0, draws, step))
