"""Films that the report shows: the best, middle and worst; of masks and boxes among those with something to find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.detection.average_precision import mean_average_precision
from crossray.evaluation.detection.boxes import DetectionSet
from crossray.evaluation.metrics import FloatArray, quotient
from crossray.evaluation.segmentation.counts import MaskCounts


@dataclass(frozen=True)
class Case:
    """A film by its place on the test side, its score, and why it is shown: ``best``, ``median`` or ``worst``."""

    rank: str
    film: int
    score: float


def chosen_cases(scores: FloatArray) -> list[Case]:
    """Two best, two around the median, two worst of ``scores [n]``; NaN is no candidate, and no film comes twice."""
    order = _best_first(scores)
    middle = max(0, (len(order) - 1) // 2)
    # The extremes first, so that of two films one is the best and the other the worst.
    wanted = [("best", order[:1]), ("worst", order[-1:]), ("median", order[middle : middle + 2])]
    wanted += [("best", order[1:2]), ("worst", order[-2:-1])]
    return _cases(scores, order, wanted)


def extreme_cases(scores: FloatArray) -> list[Case]:
    """The best and the worst of ``scores [n]``; NaN is no candidate, and a film that is alone is the best."""
    order = _best_first(scores)
    return _cases(scores, order, [("best", order[:1]), ("worst", order[-1:])])


def _best_first(scores: FloatArray) -> NDArray[np.intp]:
    known = np.flatnonzero(~np.isnan(scores))
    return known[np.argsort(-scores[known], kind="stable")]


def _cases(scores: FloatArray, order: NDArray[np.intp], wanted: list[tuple[str, NDArray[np.intp]]]) -> list[Case]:
    """Films from best to worst, each under the first rank that wants it."""
    ranks: dict[int, str] = {}
    for rank, films in wanted:
        for film in films:
            ranks.setdefault(int(film), rank)
    return [Case(ranks[int(film)], int(film), float(scores[film])) for film in order if int(film) in ranks]


def film_dice(counts: MaskCounts) -> FloatArray:
    """``[n]`` Dice of each film over the pixels of all classes; NaN where nothing is to be found."""
    hit = counts.true_positive.sum(axis=1)
    wrong = (counts.false_positive + counts.false_negative).sum(axis=1)
    dice = quotient(2.0 * hit, 2.0 * hit + wrong)
    found: FloatArray = np.where(counts.positive.sum(axis=1) > 0, dice, np.nan)
    return found


def film_likelihood(probabilities: FloatArray, labels: FloatArray) -> FloatArray:
    """``[n]`` probability that was given to what is true of each film, the mean of its known labels (``[n, K]``).

    NaN where none is known.
    """
    known = ~np.isnan(labels)
    given = np.where(labels > 0.5, probabilities, 1 - probabilities)  # NaN is below
    return quotient(np.where(known, given, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def film_precision(sets: list[DetectionSet], films: int) -> FloatArray:
    """``[n]`` mAP of each film by itself, the mean over the classes it has boxes of; NaN without any."""
    total, classes = np.zeros(films), np.zeros(films)
    for found in sets:
        own = np.unique(found.target_image)
        weights = np.zeros((len(own), films))
        weights[np.arange(len(own)), own] = 1
        total[own] += mean_average_precision(found, weights=weights)
        classes[own] += 1
    return quotient(total, classes)
