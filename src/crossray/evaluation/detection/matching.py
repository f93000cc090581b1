"""Which predictions are hits: greedy by confidence, each taking the true box that it overlaps most and nobody has.

Spec: `localized_evaluation.md`, section 4. Predictions of different images never compete, so walking through all of
them by confidence is walking through each image by itself. That is done side by side: the most confident prediction
of every image first, then the second, for all thresholds at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.detection.boxes import Convention, DetectionSet, IntArray, iou


def matched(found: DetectionSet, thresholds: Sequence[float], convention: Convention = "exact") -> NDArray[np.bool_]:
    """``[T, P]``: whether each prediction is a hit at each IoU threshold.

    A hit overlaps its box by *more* than the threshold; a prediction that is none leaves its box to later ones. Equal
    confidences of one image are taken in the order of the arrays, equal overlaps by the order of the true boxes.
    """
    boxes, real = found.padded_targets()
    least = np.asarray(thresholds, dtype=np.float64)[:, None]
    free = np.repeat(real[None], len(thresholds), axis=0)
    hits = np.zeros((len(thresholds), len(found.image)), dtype=bool)
    for rows in _by_rank(found):
        image = found.image[rows]
        overlap = iou(found.boxes[rows, None], boxes[image], convention)
        still_free = np.where(free[:, image], overlap, -1.0)
        best = still_free.argmax(axis=2)
        hit = np.take_along_axis(still_free, best[..., None], axis=2)[..., 0] > least
        hits[:, rows] = hit
        threshold, row = np.nonzero(hit)
        free[threshold, image[row], best[threshold, row]] = False
    return hits


def _by_rank(found: DetectionSet) -> list[IntArray]:
    """Predictions as lists: the most confident of every image, the second of every image that has one, and so on."""
    if len(found.image) == 0:
        return []
    order = np.lexsort((-found.confidence, found.image))
    count = np.bincount(found.image, minlength=found.images)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    by_rank = order[np.argsort(rank, kind="stable")]
    return [rows.astype(np.int64) for rows in np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])]
