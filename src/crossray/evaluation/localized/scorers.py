"""Validation metrics that are fed batch by batch, so that no split of masks need be held at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from crossray.evaluation.classification.binary import argmax_counts
from crossray.evaluation.detection.boxes import DetectionSet
from crossray.evaluation.heads.boxes import BoxTargets, Detections, joined_detections, joined_targets
from crossray.evaluation.heads.segmentation_losses import known_pixels
from crossray.evaluation.metrics import auroc, macro_mean, per_label

PredictionT = TypeVar("PredictionT", contravariant=True)
TruthT = TypeVar("TruthT", contravariant=True)

_CALLED = 0.5


class Scorer(Protocol[PredictionT, TruthT]):
    """One metric of one model on one part. Larger is better."""

    def add(self, predicted: PredictionT, truth: TruthT) -> None:
        """Take in a batch."""
        ...

    def value(self) -> float:
        """The metric of everything added; NaN where it is undefined."""
        ...


class DiceScorer:
    """Dice over all pixels of the split, threshold 0.5 (>=), the mean of its classes; 0 for a class never called.

    Spec: ``localized_evaluation``, section 4.
    """

    def __init__(self) -> None:
        self._overlap: Tensor | float = 0.0
        self._both: Tensor | float = 0.0

    def add(self, predicted: Tensor, truth: Tensor) -> None:
        """Probabilities and masks ``[b, K, height, width]``."""
        wanted, known = known_pixels(truth)
        called = predicted >= _CALLED
        if known is not None:
            called &= known
        self._overlap = self._overlap + _pixels(called & wanted)
        self._both = self._both + _pixels(called) + _pixels(wanted)

    def value(self) -> float:
        """Mean over classes."""
        overlap, both = torch.as_tensor(self._overlap), torch.as_tensor(self._both)
        return float((2 * overlap / both.clamp(min=1)).mean())


class BoxScorer:
    """A metric of a :class:`DetectionSet` (mAP, FROC), the mean over the classes that have a true box.

    Args:
        metric: boxes of one class on all films to a number.
    """

    def __init__(self, metric: Callable[[DetectionSet], float]) -> None:
        self._metric = metric
        self._found: list[Detections] = []
        self._truth: list[BoxTargets] = []

    def add(self, predicted: Detections, truth: BoxTargets) -> None:
        """Boxes of a batch of films; those without any count too."""
        self._found.append(predicted)
        self._truth.append(truth)

    def value(self) -> float:
        """Mean over classes; NaN without a true box."""
        sets = detection_sets(joined_detections(self._found), joined_targets(self._truth))
        values = [self._metric(each) for each in sets]
        return float(np.mean(values)) if values else float("nan")


class AurocScorer:
    """Macro AUROC of logits ``[b, K]`` against labels (NaN unknown)."""

    def __init__(self) -> None:
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, predicted: Tensor, truth: Tensor) -> None:
        """Keep a batch."""
        self._scores.append(predicted)
        self._labels.append(truth)

    def value(self) -> float:
        """Mean over the labels that have both classes."""
        scores, labels = (torch.cat(each).double().numpy() for each in (self._scores, self._labels))
        return float(macro_mean(per_label(auroc, scores, labels))[0])


class ArgmaxF1Scorer(AurocScorer):
    """F1 of one label, called where its presence has the larger logit (``TwoClassTask``); 0 if never rightly."""

    def value(self) -> float:
        """NaN without a present label and without a call."""
        scores, labels = (torch.cat(each).double().numpy() for each in (self._scores, self._labels))
        return float(argmax_counts(scores, labels).f1()[0, 0])


def _pixels(where: Tensor) -> Tensor:
    """``[K]`` how many are true. Single precision counts the pixels of one film exactly, and faster than integers."""
    return where.float().sum(dim=(2, 3)).double().sum(dim=0)


def detection_sets(found: Detections, truth: BoxTargets) -> list[DetectionSet]:
    """One a class that has a true box, ascending, as the detection metrics take them."""
    corners = torch.cat([truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]], dim=1)
    sets = []
    for label in torch.unique(truth.classes).tolist():
        of_truth, of_found = truth.classes == label, found.classes == label
        sets.append(
            DetectionSet(
                images=truth.films,
                target_image=truth.film[of_truth].numpy(),
                target_boxes=corners[of_truth].double().numpy(),
                image=found.film[of_found].numpy(),
                boxes=found.boxes[of_found].double().numpy(),
                confidence=found.scores[of_found].double().numpy(),
            )
        )
    return sets
