"""Dice under each of its published definitions, from counts, for the estimate and every bootstrap draw.

One word, four numbers (`downstream_protocols.md` sections 5 and 8.1): the same masks may score 0.44 by one and 0.75 by
another, and a model that never calls a pixel scores 0.75 by the third. Each score is therefore printed beside the
others, and beside what predicting nothing and predicting everything would get.

A bootstrap draw is a vector of counts, how often each image was drawn, ``weights [draws, n]``: a score under a draw is
exactly what it would be on the images written out that often.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.metrics import FloatArray, quotient
from crossray.evaluation.segmentation.counts import MaskCounts

Score = Callable[[MaskCounts, FloatArray | None], FloatArray]
"""``(counts, weights [draws, n] or None) -> [draws, K]``; without weights every image counts once, one draw."""

MODEL = "model"
ALL_EMPTY = "all-empty"
ALL_POSITIVE = "all-positive"


def dataset_dice(counts: MaskCounts, weights: FloatArray | None = None) -> FloatArray:
    """Dice over the pixels of the whole split (LoVT): ``2TP / (2TP + FP + FN)``, ``[draws, K]``.

    Images without a positive pixel add nothing but false positives. NaN where a draw holds neither a positive nor a
    called pixel of a class.
    """
    weights = _every_image_once(counts) if weights is None else weights
    true_positive = weights @ counts.true_positive
    wrong = weights @ (counts.false_positive + counts.false_negative)
    return quotient(2 * true_positive, 2 * true_positive + wrong)


def class_mean_dice(counts: MaskCounts, weights: FloatArray | None = None) -> FloatArray:
    """Mean of the classes' dataset Dice (LoVT on NIH, eight classes), ``[draws]``: one never predicted scores 0."""
    of_class = dataset_dice(counts, weights)
    means: FloatArray = np.where(np.isnan(of_class), 0.0, of_class).mean(axis=1)
    return means


def positive_dice(counts: MaskCounts, weights: FloatArray | None = None) -> FloatArray:
    """Mean Dice of the images that have a positive pixel, ``[draws, K]``; NaN where a draw has none."""
    return _image_mean(_image_dice(counts), counts.positive > 0, counts, weights)


def empty_is_one_dice(counts: MaskCounts, weights: FloatArray | None = None) -> FloatArray:
    """Mean Dice of all images, an empty mask called empty being 1 and called anything 0 (GLoRIA, MGCA), ``[draws, K]``.

    The published code averages inside batches and then over batches, which weighs a last, smaller one more; here every
    image weighs alike. An image whose pixels are all ignored is left out.
    """
    seen = counts.positive + counts.negative > 0
    empty = (counts.positive == 0) & (counts.false_positive == 0)
    return _image_mean(np.where(empty, 1.0, _image_dice(counts)), seen, counts, weights)


def two_class_dice(counts: MaskCounts, weights: FloatArray | None = None) -> FloatArray:
    """Mean of foreground and background Dice over the whole split (BenchX's mDice), ``[draws, K]``.

    The background is most of a film and easily got: 0.50 and 0.99 make 0.745.
    """
    weights = _every_image_once(counts) if weights is None else weights
    true_negative = weights @ counts.true_negative
    wrong = weights @ (counts.false_positive + counts.false_negative)
    background = quotient(2 * true_negative, 2 * true_negative + wrong)
    foreground = dataset_dice(counts, weights)
    return np.where(
        np.isnan(foreground), background, np.where(np.isnan(background), foreground, (foreground + background) / 2)
    )


#: Every score, by the name that tables carry.
SCORES: dict[str, Score] = {
    "Dice, whole split": dataset_dice,
    "Dice, positive images": positive_dice,
    "Dice, empty = 1": empty_is_one_dice,
    "mDice, two classes": two_class_dice,
}


def segmentation_scores(counts: MaskCounts, weights: FloatArray | None = None) -> dict[str, dict[str, FloatArray]]:
    """Every score of the model and of its baselines: by score, then by ``model``, ``all-empty``, ``all-positive``."""
    predictors = {MODEL: counts, ALL_EMPTY: counts.all_empty(), ALL_POSITIVE: counts.all_positive()}
    return {name: {who: score(own, weights) for who, own in predictors.items()} for name, score in SCORES.items()}


def _every_image_once(counts: MaskCounts) -> FloatArray:
    return np.ones((1, len(counts)))


def _image_dice(counts: MaskCounts) -> FloatArray:
    """``[n, K]`` Dice of each image; 0 where it has neither positive nor called pixels (callers say what it is)."""
    twice = 2 * counts.true_positive.astype(np.float64)
    found = quotient(twice, twice + counts.false_positive + counts.false_negative)
    return np.nan_to_num(found, nan=0.0)


def _image_mean(
    values: FloatArray, counted: NDArray[np.bool_], counts: MaskCounts, weights: FloatArray | None
) -> FloatArray:
    """Mean over the counted images of each draw."""
    weights = _every_image_once(counts) if weights is None else weights
    return quotient(weights @ np.where(counted, values, 0.0), weights @ counted.astype(np.float64))
