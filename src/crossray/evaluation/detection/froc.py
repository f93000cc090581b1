"""FROC: the share of targets found against false positives for each image, as released for Object-CXR and smoothly.

Spec: `localized_evaluation.md`, section 4. A target is found when a predicted box's *centre* lies in its box (edges
included); a centre in several finds them all, further centres in a found target are neutral, one in none is a false
positive. Negatives count as images.

Predictions of equal confidence are walked with false positives first, then those that find least (of equals in one
image, the first listed finds): the order of files cannot flatter a model. Released code takes them as they come.
Weights ``[draws, images]`` are counts of draws; the value is exactly that of the images written out so often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.detection.boxes import DetectionSet, IntArray
from crossray.evaluation.metrics import FloatArray

#: False positives for each image.
LEVELS: FloatArray = np.array([0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0])


@dataclass(frozen=True)
class FrocCurve:
    """Points of the curve, one for each distinct confidence: false positives per image and sensitivity."""

    false_per_image: FloatArray
    sensitivity: FloatArray


def froc(found: DetectionSet, weights: FloatArray | None = None) -> FloatArray:
    """Mean of the seven recorded sensitivities, ``[draws]``, by the released walk; NaN where a draw has no target.

    After *every* prediction, hit or not, the next level of :data:`LEVELS` is tested, and recorded with the sensitivity
    so far if false positives / images has reached it: at most one level a prediction. So a level that was reached by a
    false positive may be recorded one prediction later, with what that one found. Levels that are never reached repeat
    the last recorded value, or the final sensitivity if there is none.

    Args:
        found: boxes of one class.
        weights: ``[draws, images]`` whole numbers; ``None`` = every image once.

    Raises:
        ValueError: a weight is no whole number: a walk takes a prediction or does not.
    """
    return _over_draws(found, weights, _released)


def interpolated_froc(found: DetectionSet, weights: FloatArray | None = None) -> FloatArray:
    """Mean sensitivity at the seven levels, read from the curve through all its points, ``[draws]``.

    Between two rates of false positives it holds what was found at the lower one (with equal confidences, a straight
    line to the upper one); beyond the last it stays. Arguments and errors as for :func:`froc`.
    """
    return _over_draws(found, weights, _interpolated)


def froc_curve(found: DetectionSet) -> FrocCurve:
    """The curve of all images, from (0, 0); for figures."""
    walk = _Walk.of(found)
    return _curve(walk, np.ones(len(walk.image), dtype=np.int64), found.images, float(len(found.target_image)))


@dataclass(frozen=True)
class _Walk:
    """Predictions in walking order, each ``[P]``: image, confidence, is it false, how many targets it finds first."""

    image: IntArray
    confidence: FloatArray
    false: NDArray[np.bool_]
    fresh: IntArray

    @classmethod
    def of(cls, found: DetectionSet) -> _Walk:
        order = np.argsort(-found.confidence, kind="stable")
        image, confidence = found.image[order], found.confidence[order]
        boxes, real = found.padded_targets()
        centre = (found.boxes[order, :2] + found.boxes[order, 2:])[:, None] / 2
        own: FloatArray = boxes[image]
        inside = np.all((centre >= own[..., :2]) & (centre <= own[..., 2:]), axis=2) & real[image]
        # Rows come in walking order, so the first mention of a target is by the prediction that finds it.
        row, column = np.nonzero(inside)
        _, first = np.unique(image[row] * boxes.shape[1] + column, return_index=True)
        fresh = np.bincount(row[first], minlength=len(order))
        false = ~inside.any(axis=1)
        among_equals = np.lexsort((fresh, ~false, -confidence))
        return cls(image[among_equals], confidence[among_equals], false[among_equals], fresh[among_equals])


def _released(walk: _Walk, copies: IntArray, images: int, targets: float) -> float:
    false = np.cumsum(np.repeat(walk.false, copies))
    sensitivity = np.cumsum(np.repeat(walk.fresh, copies)) / targets
    if len(false) == 0:
        return 0.0
    reached = np.searchsorted(false / images, LEVELS)
    # One level a prediction: each is recorded at least one prediction after the one before it.
    place = np.arange(len(LEVELS))
    recorded = np.maximum.accumulate(reached - place) + place
    known = sensitivity[recorded[recorded < len(false)]]
    last = known[-1] if len(known) else sensitivity[-1]
    return float(np.append(known, np.full(len(LEVELS) - len(known), last)).mean())


def _interpolated(walk: _Walk, copies: IntArray, images: int, targets: float) -> float:
    curve = _curve(walk, copies, images, targets)
    # Of points at one rate of false positives NumPy takes the last, which has found most.
    return float(np.interp(LEVELS, curve.false_per_image, curve.sensitivity).mean())


def _curve(walk: _Walk, copies: IntArray, images: int, targets: float) -> FrocCurve:
    ends = np.flatnonzero(np.append(walk.confidence[1:] != walk.confidence[:-1], np.ones(min(1, len(copies)), bool)))
    false = np.append(0.0, np.cumsum(walk.false * copies)[ends] / images)
    return FrocCurve(false, np.append(0.0, np.cumsum(walk.fresh * copies)[ends] / targets))


def _over_draws(
    found: DetectionSet, weights: FloatArray | None, value: Callable[[_Walk, IntArray, int, float], float]
) -> FloatArray:
    """A value for each draw, from how often each prediction was drawn and how many images and targets there are."""
    walk = _Walk.of(found)
    drawn = np.ones((1, found.images)) if weights is None else weights
    copies = drawn.astype(np.int64)
    if (copies != drawn).any() or (copies < 0).any():
        raise ValueError("FROC walks over whole images: weights must be whole numbers, not negative")
    targets = drawn @ found.targets_per_image
    values = [
        value(walk, row[walk.image], int(row.sum()), float(total)) if total > 0 else np.nan
        for row, total in zip(copies, targets, strict=True)
    ]
    return np.array(values, dtype=np.float64)
