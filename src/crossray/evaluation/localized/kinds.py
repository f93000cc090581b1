"""The three kinds of tasks: their truth, head, loss, validation metric, predictions and measures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from crossray.evaluation.cells import Arrays
from crossray.evaluation.detection.average_precision import mean_average_precision
from crossray.evaluation.detection.boxes import DetectionSet
from crossray.evaluation.detection.froc import froc
from crossray.evaluation.heads.boxes import BoxTargets, Detections, joined_detections
from crossray.evaluation.heads.classification import LinearClassification
from crossray.evaluation.heads.maps import MapChannels
from crossray.evaluation.heads.yolo import detection_head
from crossray.evaluation.localized.cases import chosen_cases, film_dice
from crossray.evaluation.localized.films import Rows, TaskFilms
from crossray.evaluation.localized.image_dice import EmptyIsOneScorer, positive_films
from crossray.evaluation.localized.mask_heads import mask_head
from crossray.evaluation.localized.measures import (
    Measures,
    classification_measures,
    detection_measures,
    segmentation_measures,
)
from crossray.evaluation.localized.model import LocalizedModel
from crossray.evaluation.localized.parts import LocalizedPart
from crossray.evaluation.localized.protocol import LocalizedProtocol
from crossray.evaluation.localized.scorers import (
    ArgmaxF1Scorer,
    AurocScorer,
    BoxScorer,
    DiceScorer,
    Scorer,
    detection_sets,
)
from crossray.evaluation.localized.tasks import (
    ClassificationTask,
    DetectionTask,
    LocalizedTask,
    SegmentationTask,
    TwoClassTask,
)
from crossray.evaluation.localized.truth import Boxes, Labels, Masks
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.segmentation.counts import THRESHOLD, CountsAccumulator, MaskCounts

TruthT = TypeVar("TruthT")
PredictionT = TypeVar("PredictionT")


VALIDATION = "validation_"
"""What names of predictions on validation films begin with, where those on test films have the rest of the name."""


class TaskKind(Protocol[TruthT, PredictionT]):
    """What :class:`TaskRun` needs to know of a task."""

    @property
    def task(self) -> LocalizedTask[TruthT, PredictionT]:
        """Loss and prediction."""
        ...

    def truth(self, rows: Rows) -> TruthT:
        """What is true of films."""
        ...

    def make_head(self, channels: MapChannels) -> nn.Module:
        """A fresh head."""
        ...

    def scorer(self) -> Scorer[PredictionT, TruthT]:
        """A fresh validation metric."""
        ...

    def predictions(self, model: LocalizedModel, part: LocalizedPart[TruthT], batch_size: int) -> Arrays:
        """What is kept of a model's predictions."""
        ...

    def validation_predictions(self, model: LocalizedModel, part: LocalizedPart[TruthT], batch_size: int) -> Arrays:
        """What is kept of predictions on validation films, to choose thresholds by; nothing if there is none to choose.

        Its names begin with :data:`VALIDATION`.
        """
        ...

    def measures(self, arrays: Arrays, rows: Rows, weights: FloatArray) -> Measures:
        """Every number of kept predictions."""
        ...

    def positives(self, rows: Rows) -> dict[str, int]:
        """How many films have each target."""
        ...


class SegmentationKind:
    """Masks."""

    def __init__(self, protocol: LocalizedProtocol, films: TaskFilms) -> None:
        assert protocol.loss != "yolo"  # a protocol is checked to fit together
        assert protocol.loss != "ce"
        self.protocol, self.task = protocol, SegmentationTask(protocol.loss)
        self.truth = Masks(films.store, _all_rows(films), protocol.targets, protocol.size)

    def make_head(self, channels: MapChannels) -> nn.Module:
        """See :func:`mask_head`."""
        return mask_head(self.protocol, channels)

    def scorer(self) -> Scorer[Tensor, Tensor]:
        """Dice of the whole split, or of each film with an empty one as 1."""
        return DiceScorer() if self.protocol.metric == "dice" else EmptyIsOneScorer()

    def predictions(self, model: LocalizedModel, part: LocalizedPart[Tensor], batch_size: int) -> Arrays:
        """Pixel counts of each film and class; masks are let go but those of the few films that the report shows."""
        counted, called = CountsAccumulator(), []
        for outputs, truth in _batches(model, part, batch_size):
            probabilities = self.task.predict(outputs).numpy()
            counted.add(probabilities, truth.numpy())
            called.append(np.packbits((probabilities >= THRESHOLD).reshape(len(probabilities), -1), axis=1))
        counts = counted.counts()
        shown = np.array([case.film for case in chosen_cases(film_dice(counts))], dtype=np.int64)
        return dict(vars(counts)) | {"case_films": shown, "case_masks": np.concatenate(called)[shown]}

    def validation_predictions(self, model: LocalizedModel, part: LocalizedPart[Tensor], batch_size: int) -> Arrays:
        """None: a pixel is called at 0.5."""
        return {}

    def measures(self, arrays: Arrays, rows: Rows, weights: FloatArray) -> Measures:
        """Every Dice, with its baselines."""
        names = ("true_positive", "false_positive", "false_negative", "true_negative")
        return segmentation_measures(MaskCounts(*(arrays[name] for name in names)), self.protocol.targets, weights)

    def positives(self, rows: Rows) -> dict[str, int]:
        """Films with a pixel inside."""
        found = positive_films(self.truth, rows).sum(dim=0)
        return dict(zip(self.protocol.targets, found.tolist(), strict=True))


class DetectionKind:
    """Boxes."""

    def __init__(self, protocol: LocalizedProtocol, films: TaskFilms) -> None:
        self.protocol, self.task = protocol, DetectionTask((protocol.size, protocol.size), protocol.yolo)
        self.truth = Boxes(films.store, _all_rows(films), protocol.targets, protocol.size)

    def make_head(self, channels: MapChannels) -> nn.Module:
        """YOLOv3."""
        return detection_head(channels, len(self.protocol.targets))

    def scorer(self) -> Scorer[Detections, BoxTargets]:
        """mAP or FROC."""
        if self.protocol.metric == "froc":
            return BoxScorer(lambda found: float(froc(found)[0]))
        return BoxScorer(lambda found: float(mean_average_precision(found)[0]))

    def predictions(self, model: LocalizedModel, part: LocalizedPart[BoxTargets], batch_size: int) -> Arrays:
        """Boxes that are left after suppression."""
        found = joined_detections([self.task.predict(outputs) for outputs, _ in _batches(model, part, batch_size)])
        names = ("boxes", "scores", "classes", "film")
        return {name: getattr(found, name).numpy() for name in names}

    def validation_predictions(self, model: LocalizedModel, part: LocalizedPart[BoxTargets], batch_size: int) -> Arrays:
        """All of them."""
        return _on_validation(self.predictions(model, part, batch_size))

    def measures(self, arrays: Arrays, rows: Rows, weights: FloatArray) -> Measures:
        """mAP and FROC over all films."""
        sets = list(self.sets(arrays, rows).values())
        return detection_measures(sets, self.protocol.targets, weights, legacy=self.protocol.preset == "legacy")

    def sets(self, arrays: Arrays, rows: Rows, prefix: str = "") -> dict[str, DetectionSet]:
        """Kept predictions and true boxes of films, by the classes that have a true box there."""
        tensors = {name: torch.from_numpy(arrays[prefix + name]) for name in ("boxes", "scores", "classes", "film")}
        truth = self.truth(rows)
        present = [self.protocol.targets[label] for label in torch.unique(truth.classes).tolist()]
        found = detection_sets(Detections(**tensors, films=len(rows)), truth)
        return dict(zip(present, found, strict=True))

    def positives(self, rows: Rows) -> dict[str, int]:
        """Films with a box of each class."""
        boxes = self.truth(rows)
        films = [len(torch.unique(boxes.film[boxes.classes == k])) for k in range(len(self.protocol.targets))]
        return dict(zip(self.protocol.targets, films, strict=True))


class ClassificationKind:
    """Labels of studies."""

    def __init__(self, protocol: LocalizedProtocol, films: TaskFilms) -> None:
        self.protocol = protocol
        self.task: LocalizedTask[Tensor, Tensor] = TwoClassTask() if protocol.two_classes else ClassificationTask()
        self.truth = Labels(films.store, _all_rows(films), protocol.targets)

    def make_head(self, channels: MapChannels) -> nn.Module:
        """One linear layer on the pooled feature."""
        protocol = self.protocol
        return LinearClassification(
            channels,
            2 if protocol.two_classes else len(protocol.targets),
            protocol.dropout,
            layer_norm=protocol.layer_norm,
            weight_std=protocol.weight_std,
        )

    def scorer(self) -> Scorer[Tensor, Tensor]:
        """Macro AUROC, or F1 at the argmax."""
        return AurocScorer() if self.protocol.metric == "auroc" else ArgmaxF1Scorer()

    def predictions(self, model: LocalizedModel, part: LocalizedPart[Tensor], batch_size: int) -> Arrays:
        """Logits ``[n, K]``; of two classes their difference."""
        found = [self.task.predict(outputs) for outputs, _ in _batches(model, part, batch_size)]
        return {"logits": torch.cat(found).numpy()}

    def validation_predictions(self, model: LocalizedModel, part: LocalizedPart[Tensor], batch_size: int) -> Arrays:
        """All of them."""
        return _on_validation(self.predictions(model, part, batch_size))

    def measures(self, arrays: Arrays, rows: Rows, weights: FloatArray) -> Measures:
        """AUROC, average precision, F1."""
        labels = self.truth(rows).double().numpy()
        logits, protocol = arrays["logits"].astype(np.float64), self.protocol
        return classification_measures(logits, labels, protocol.targets, weights, two_classes=protocol.two_classes)

    def positives(self, rows: Rows) -> dict[str, int]:
        """Films of studies that have each label."""
        return dict(zip(self.protocol.targets, (self.truth(rows) == 1).sum(dim=0).tolist(), strict=True))


def kind_of(protocol: LocalizedProtocol, films: TaskFilms) -> TaskKind[Any, Any]:
    """The kind of a protocol with the truth of its films; truth and predictions fit each other inside a kind."""
    if protocol.kind == "segmentation":
        return SegmentationKind(protocol, films)
    if protocol.kind == "detection":
        return DetectionKind(protocol, films)
    return ClassificationKind(protocol, films)


def _on_validation(arrays: Arrays) -> Arrays:
    return {VALIDATION + name: array for name, array in arrays.items()}


def _all_rows(films: TaskFilms) -> Rows:
    return np.concatenate([films.train, films.validation, films.test])


@torch.no_grad()
def _batches(model: LocalizedModel, part: LocalizedPart[TruthT], batch_size: int) -> Iterator[tuple[Any, TruthT]]:
    """Outputs and truth of a part, in its order and in evaluation mode."""
    model.eval()
    for places in torch.split(part.places, batch_size):
        yield model(part.inputs(places)), part.targets(places)
