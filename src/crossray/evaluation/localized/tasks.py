"""What a head's outputs mean: their loss against the truth, and the prediction that a metric is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.errors import ConfigError
from crossray.evaluation.heads.boxes import BoxTargets, Detections
from crossray.evaluation.heads.segmentation_losses import SegmentationLoss, segmentation_loss
from crossray.evaluation.heads.yolo import SCALES, YoloConfig
from crossray.evaluation.heads.yolo_decode import decode, suppress
from crossray.evaluation.heads.yolo_loss import yolo_loss

TruthT = TypeVar("TruthT", contravariant=True)
PredictionT = TypeVar("PredictionT", covariant=True)

_UNKNOWN = -100  # a class that PyTorch's cross-entropy passes over


class LocalizedTask(Protocol[TruthT, PredictionT]):
    """Loss and prediction of one kind of task. A head's outputs are tensors or tuples of them, as the head says."""

    def loss(self, outputs: Any, truth: TruthT) -> Tensor:
        """Scalar of a batch."""
        ...

    def predict(self, outputs: Any) -> PredictionT:
        """What is scored."""
        ...


@dataclass(frozen=True)
class SegmentationTask:
    """Masks ``[b, K, height, width]`` against logits of the same shape; the prediction is probabilities."""

    loss_name: SegmentationLoss = "dice"

    def loss(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """The loss of its name."""
        return segmentation_loss(self.loss_name)(outputs, truth)

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities ``[b, K, height, width]``."""
        return outputs.sigmoid()


@dataclass(frozen=True)
class DetectionTask:
    """Boxes against the logits of a YOLOv3 head, in pixels of films of ``size`` (height, width)."""

    size: tuple[int, int] = (224, 224)
    yolo: YoloConfig = field(default_factory=YoloConfig)

    def loss(self, outputs: tuple[Tensor, ...], truth: BoxTargets) -> Tensor:
        """The sum over scales.

        Raises:
            ConfigError: the trunk was given films of another size than boxes are told in.
        """
        self._check(outputs)
        return yolo_loss(outputs, truth, self.size, self.yolo)

    def predict(self, outputs: tuple[Tensor, ...]) -> Detections:
        """Boxes that are left after suppression."""
        self._check(outputs)
        return suppress(decode(outputs, self.size, self.yolo), self.yolo)

    def _check(self, outputs: tuple[Tensor, ...]) -> None:
        rows, columns = outputs[0].shape[3:]
        if (rows * SCALES[0], columns * SCALES[0]) != self.size:
            raise ConfigError(
                f"boxes are told in films of {self.size[0]} x {self.size[1]}, the trunk is given films of "
                f"{rows * SCALES[0]} x {columns * SCALES[0]}.",
                field="image.size",
                remedy="Give both the same size.",
            )


@dataclass(frozen=True)
class TwoClassTask:
    """One label ``[b, 1]`` (NaN unknown) against two logits, absent and present; the prediction is their difference.

    The difference is above 0 where the label is the argmax, and ranks as its probability does.
    """

    def loss(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Mean cross-entropy over the known labels; 0 where none is known."""
        wanted = torch.where(torch.isnan(truth[:, 0]), float(_UNKNOWN), truth[:, 0]).long()
        entropy = F.cross_entropy(outputs, wanted, ignore_index=_UNKNOWN, reduction="sum")
        return entropy / (wanted != _UNKNOWN).sum().clamp(min=1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Differences ``[b, 1]``."""
        return outputs[:, 1:] - outputs[:, :1]


@dataclass(frozen=True)
class ClassificationTask:
    """Labels ``[b, K]`` (NaN unknown) against logits; the prediction is the logits."""

    def loss(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Mean binary cross-entropy over the known labels; 0 where none is known."""
        known = ~torch.isnan(truth)
        wanted = torch.where(known, truth, 0.0).to(outputs.dtype)
        entropy = F.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
        return torch.where(known, entropy, 0.0).sum() / known.sum().clamp(min=1)

    def predict(self, outputs: Tensor) -> Tensor:
        """Logits ``[b, K]``: they rank."""
        return outputs
