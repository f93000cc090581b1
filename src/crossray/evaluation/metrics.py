"""Ranking metrics over weighted rows: one call serves the estimate and every bootstrap draw.

A bootstrap draw is a vector of counts, how often each row was drawn. Metrics therefore take ``weights
[draws, n]``: the rows are sorted once, and all draws are computed from the same order by cumulative sums.
With all weights one, the values are those of scikit-learn. Beside the weights, AUROC needs a few megabytes; the others
need some arrays of the weights' size for a label.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LabelMetric = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""``(scores [n], labels [n], weights [draws, n]) -> [draws]``."""


#: Weights gone through at once: as many as a core keeps at hand.
_ELEMENTS_AT_ONCE = 1 << 17


class UndefinedMetricWarning(UserWarning):
    """A metric is not defined for a label (a single class present): NaN, left out of the macro mean."""


def auroc(scores: FloatArray, labels: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Area under the ROC curve of one label, ties counted one half.

    Args:
        scores: ``[n]``, higher means more likely present.
        labels: ``[n]``, 1 present, 0 absent, NaN unknown (the row is left out).
        weights: ``[draws, n]`` non-negative counts; ``None`` = every row once, one draw.

    Returns:
        ``[draws]``; NaN where a draw holds a single class.
    """
    known, present = _known_rows(scores, labels)
    used = np.ones((1, len(labels))) if weights is None else np.asarray(weights, dtype=np.float64)
    values = np.asarray(scores)
    positives, negatives = known[present], known[~present]
    negatives = negatives[np.argsort(values[negatives], kind="stable")]
    # How many negatives stand below each positive, and how many not above it.
    below, not_above = (np.searchsorted(values[negatives], values[positives], side=side) for side in ("left", "right"))
    result = np.empty(len(used))
    step = max(1, _ELEMENTS_AT_ONCE // max(1, len(known)))
    for start in range(0, len(used), step):
        draws = used[start : start + step]
        negative_mass = np.zeros((len(draws), len(negatives) + 1))
        np.cumsum(draws[:, negatives], axis=1, out=negative_mass[:, 1:])
        positive_mass = draws[:, positives]
        concordant = (positive_mass * (negative_mass[:, below] + negative_mass[:, not_above])).sum(axis=1) / 2
        result[start : start + step] = quotient(concordant, positive_mass.sum(axis=1) * negative_mass[:, -1])
    return result


def average_precision(scores: FloatArray, labels: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Average precision of one label: precision at each distinct score, weighted by the recall it adds.

    Arguments and result as for :func:`auroc`; NaN where a draw holds a single class.
    """
    order, positive, negative = _sorted_mass(scores, labels, weights)
    starts = _tie_starts(np.asarray(scores, dtype=np.float64)[order])
    if len(starts) == 0:
        return np.full(positive.shape[0], np.nan)
    # From the highest score downwards: the threshold takes in one group of ties after the other.
    positive_at = np.add.reduceat(positive, starts, axis=1)[:, ::-1]
    negative_at = np.add.reduceat(negative, starts, axis=1)[:, ::-1]
    true_positive = np.cumsum(positive_at, axis=1)
    called = true_positive + np.cumsum(negative_at, axis=1)
    precision = np.divide(true_positive, called, out=np.zeros_like(called), where=called > 0)
    value = quotient((positive_at * precision).sum(axis=1), true_positive[:, -1])
    return np.where(negative_at.sum(axis=1) > 0, value, np.nan)


def per_label(
    metric: LabelMetric, scores: FloatArray, labels: FloatArray, weights: FloatArray | None = None
) -> FloatArray:
    """A metric for every label: scores and labels ``[n, K]``, weights ``[draws, n]`` → ``[draws, K]``."""
    if scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} differ in shape")
    used = np.ones((1, len(scores))) if weights is None else weights
    columns = [metric(scores[:, k], labels[:, k], used) for k in range(labels.shape[1])]
    return np.stack(columns, axis=1) if columns else np.empty((len(used), 0))


def macro_mean(values: FloatArray, names: Sequence[str] = ()) -> FloatArray:
    """Mean over the last axis without its NaNs; NaN where nothing is left.

    With ``names`` (one for each entry of the last axis), a label that is NaN throughout is named in an
    :class:`UndefinedMetricWarning`.
    """
    undefined = np.isnan(values)
    if names and values.size:
        never = np.flatnonzero(undefined.reshape(-1, values.shape[-1]).all(axis=0))
        left_out = [names[k] for k in never.tolist()]
        if left_out:
            text = f"{', '.join(left_out)}: only one class present, left out of the macro mean"
            warnings.warn(text, UndefinedMetricWarning, stacklevel=2)
    counted = (~undefined).sum(axis=-1)
    total = np.where(undefined, 0.0, values).sum(axis=-1)
    return quotient(np.atleast_1d(total), np.atleast_1d(counted).astype(np.float64)).reshape(total.shape)


def weighted_mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean of ``values [n]`` under each draw's weights ``[draws, n]`` → ``[draws]``."""
    return quotient(weights @ values, weights.sum(axis=1))


def weighted_median(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Median of ``values [n]`` under each draw's counts ``[draws, n]`` → ``[draws]``.

    The mean of the two middle values for an even count, as :func:`numpy.median`.
    """
    if len(values) == 0:
        return np.full(len(weights), np.nan)
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, dtype=np.float64)[order]
    mass = np.cumsum(weights[:, order], axis=1)
    total = mass[:, -1:]
    last = len(ordered) - 1
    lower = np.minimum((mass < np.ceil(total / 2)).sum(axis=1), last)
    upper = np.minimum((mass < np.floor(total / 2) + 1).sum(axis=1), last)
    return np.where(total[:, 0] > 0, (ordered[lower] + ordered[upper]) / 2, np.nan)


def _sorted_mass(
    scores: FloatArray, labels: FloatArray, weights: FloatArray | None
) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """Order of the known rows by score, and the weight of positives and negatives in that order."""
    known, present = _known_rows(scores, labels)
    used = np.ones((1, len(labels))) if weights is None else np.asarray(weights, dtype=np.float64)
    by_score = np.argsort(np.asarray(scores)[known], kind="stable")
    order, present = known[by_score], present[by_score]
    mass = used[:, order]
    return order, mass * present, mass * ~present


def _known_rows(scores: FloatArray, labels: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The rows whose label is known, and of each whether it is present."""
    labels = np.asarray(labels, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(labels))
    if np.isnan(np.asarray(scores, dtype=np.float64)[known]).any():
        raise ValueError("a score of a labelled row is NaN")
    return known, labels[known] > 0.5


def _tie_starts(ordered: FloatArray) -> NDArray[np.intp]:
    """Index of the first row of each group of equal scores."""
    if len(ordered) == 0:
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))


def quotient(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Quotient of arrays of one shape, NaN where the denominator is zero."""
    result: FloatArray = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
