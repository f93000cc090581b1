"""What one run's predictions on test films are worth, under the estimate and every bootstrap draw at once.

Weights are ``[1 + draws, n]``: row 0 counts every film once, the others are draws of patients. So a measure is
``[1 + draws]`` numbers, the estimate first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import expit

from crossray.evaluation.calibration import BRIER, ECE, brier, equal_mass_error
from crossray.evaluation.classification.binary import argmax_counts, binary_counts
from crossray.evaluation.detection.average_precision import mean_average_precision
from crossray.evaluation.detection.boxes import DetectionSet
from crossray.evaluation.detection.froc import froc, interpolated_froc
from crossray.evaluation.intervals import bootstrap_weights
from crossray.evaluation.metrics import FloatArray, auroc, average_precision, macro_mean, per_label
from crossray.evaluation.segmentation.counts import MaskCounts
from crossray.evaluation.segmentation.scores import (
    ALL_EMPTY,
    ALL_POSITIVE,
    MODEL,
    class_mean_dice,
    dataset_dice,
    segmentation_scores,
)

DATASET_DICE = "Dice, whole split"
EMPTY_IS_ONE = "Dice, empty = 1"
MAP, FROC, AUROC, F1_AT_ARGMAX = "mAP", "FROC", "AUROC", "F1 at argmax"

_CALLED = 0.5


@dataclass(frozen=True)
class Measured:
    """What a number is: its metric, its class (or the mean over some), and who predicted (the model or a baseline)."""

    metric: str
    target: str
    predictor: str = MODEL


Measures = dict[Measured, FloatArray]


def estimate_and_draws(patients: Sequence[str | None], draws: int, seed: int, stratum: str) -> FloatArray:
    """Weights ``[1 + draws, n]``."""
    drawn = bootstrap_weights(patients, draws=draws, seed=seed, stratum=stratum)
    return np.concatenate([np.ones((1, len(patients))), drawn])


def mean_of(targets: Sequence[str]) -> str:
    """How the mean over several classes is called; one class goes by its own name."""
    return targets[0] if len(targets) == 1 else f"mean of {len(targets)}"


def segmentation_measures(counts: MaskCounts, targets: Sequence[str], weights: FloatArray) -> Measures:
    """Every Dice of the model beside those of predicting nothing and everything.

    Of several classes: the mean of each score over those for which it is defined, except for the Dice of the whole
    split, of which a class without any pixel counts 0 (LoVT on NIH); then that Dice of each class.
    """
    found: Measures = {}
    for metric, by_predictor in segmentation_scores(counts, weights).items():
        for predictor, values in by_predictor.items():
            found[Measured(metric, mean_of(targets), predictor)] = macro_mean(values)
    if len(targets) > 1:
        whole = {MODEL: counts, ALL_EMPTY: counts.all_empty(), ALL_POSITIVE: counts.all_positive()}
        for predictor, own in whole.items():
            found[Measured(DATASET_DICE, mean_of(targets), predictor)] = class_mean_dice(own, weights)
        of_class = dataset_dice(counts, weights)
        found |= {Measured(DATASET_DICE, target): of_class[:, k] for k, target in enumerate(targets)}
    return found


def detection_measures(
    sets: Sequence[DetectionSet], targets: Sequence[str], weights: FloatArray, *, legacy: bool
) -> Measures:
    """mAP, AP50, AP75 and FROC, means over the classes that have a true box; all films count.

    ``legacy`` adds MGCA's mAP, which drops films without a true box and films without a prediction.
    """
    metrics: dict[str, Callable[[DetectionSet], FloatArray]] = {
        MAP: lambda found: mean_average_precision(found, weights=weights),
        "AP50": lambda found: mean_average_precision(found, (0.5,), weights=weights),
        "AP75": lambda found: mean_average_precision(found, (0.75,), weights=weights),
        FROC: lambda found: froc(found, weights),
        "FROC, interpolated": lambda found: interpolated_froc(found, weights),
    }
    if legacy:
        metrics["mAP, films with boxes"] = lambda found: mean_average_precision(
            found, scope="mgca_legacy", weights=weights
        )
    nothing = np.full((len(weights), 1), np.nan)
    return {
        Measured(name, mean_of(targets)): macro_mean(
            np.stack([metric(found) for found in sets], axis=1) if sets else nothing
        )
        for name, metric in metrics.items()
    }


def classification_measures(
    logits: FloatArray, labels: FloatArray, targets: Sequence[str], weights: FloatArray, *, two_classes: bool = False
) -> Measures:
    """AUROC, average precision, F1, and the calibration of probabilities: mean over the labels, then each.

    F1 is at a probability of 0.5, or, of ``two_classes`` whose ``logits`` are differences, at the argmax. Beside it
    stands that of calling every film: it is far from 0 where a label is frequent.
    """
    probabilities = expit(logits)
    each = {
        AUROC: per_label(auroc, logits, labels, weights),
        "AP": per_label(average_precision, logits, labels, weights),
        ECE: per_label(equal_mass_error, probabilities, labels, weights),
        BRIER: per_label(brier, probabilities, labels, weights),
    }
    name = F1_AT_ARGMAX if two_classes else "F1 at 0.5"
    counts = argmax_counts if two_classes else partial(binary_counts, thresholds=_CALLED)
    each[name] = counts(logits if two_classes else probabilities, labels, weights=weights).f1()
    found: Measures = {}
    for metric, values in each.items():
        found |= _of_labels(metric, values, targets)
    return found | _of_labels(name, counts(np.ones_like(logits), labels, weights=weights).f1(), targets, ALL_POSITIVE)


def _of_labels(metric: str, values: FloatArray, targets: Sequence[str], predictor: str = MODEL) -> Measures:
    """A measure ``[draws, K]`` as the mean over the labels and, of several, each."""
    found = {Measured(metric, mean_of(targets), predictor): macro_mean(values)}
    if len(targets) > 1:
        found |= {Measured(metric, target, predictor): values[:, k] for k, target in enumerate(targets)}
    return found
