"""Precision and recall of boxes by confidence, and what a confidence that was chosen elsewhere is worth.

Hits are those of :func:`crossray.evaluation.detection.matching.matched` at one IoU threshold. A less confident
prediction never takes a box from a more confident one, so what is left out by a threshold changes no hit above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossray.evaluation.detection.boxes import Convention, DetectionSet
from crossray.evaluation.detection.matching import matched
from crossray.evaluation.metrics import FloatArray, quotient

HALF_OVERLAP = 0.5
"""The IoU that AP50 asks for."""

FALSE_BOXES = "false boxes a film"


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Points ``[P]``, one for each distinct confidence, the highest first; without a true box recall is NaN."""

    confidence: FloatArray
    precision: FloatArray
    recall: FloatArray

    def best_f1(self) -> float:
        """The confidence of the highest F1, of equal ones the highest; infinity, which calls nothing, without a hit."""
        both = np.nan_to_num(quotient(2 * self.precision * self.recall, self.precision + self.recall), nan=0.0)
        return float(self.confidence[np.argmax(both)]) if both.any() else float("inf")


def precision_recall_curve(
    found: DetectionSet, overlap: float = HALF_OVERLAP, convention: Convention = "plus_one"
) -> PrecisionRecallCurve:
    """The curve of all images; equal confidences are taken in together."""
    order = np.argsort(-found.confidence, kind="stable")
    ordered = found.confidence[order]
    hits = np.cumsum(matched(found, (overlap,), convention)[0, order])
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), dtype=bool)))
    true = hits[ends].astype(np.float64)
    targets = np.full(len(ends), float(len(found.target_image)))
    return PrecisionRecallCurve(ordered[ends], true / (ends + 1), quotient(true, targets))


def measures_at(
    found: DetectionSet,
    confidence: float,
    weights: FloatArray,
    overlap: float = HALF_OVERLAP,
    convention: Convention = "plus_one",
) -> dict[str, FloatArray]:
    """Precision, recall, F1 and false boxes an image, each ``[draws]``, of the boxes at least so confident.

    ``weights`` are ``[draws, images]``; NaN where a draw has no called box (precision) or no true one (recall).
    """
    called = found.confidence >= confidence
    hit = matched(found, (overlap,), convention)[0] & called
    true = weights @ np.bincount(found.image[hit], minlength=found.images)
    calls = weights @ np.bincount(found.image[called], minlength=found.images)
    targets = weights @ found.targets_per_image
    return {
        "precision": quotient(true, calls),
        "recall": quotient(true, targets),
        "F1": quotient(2 * true, calls + targets),
        FALSE_BOXES: quotient(calls - true, weights.sum(axis=1)),
    }
