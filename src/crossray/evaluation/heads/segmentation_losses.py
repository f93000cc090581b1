"""Losses of the segmentation tasks: pure functions of logits and masks ``[B, K, height, width]``.

Nothing in them branches on values, so that ``torch.func.vmap`` can run them for a whole grid of heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

SegmentationLoss = Literal["dice", "dice_per_class", "focal_dice", "bce"]

LossFunction = Callable[[Tensor, Tensor], Tensor]

_SMALLEST_SUM = 1e-7
_FOCAL_WEIGHT = 10.0
_FOCAL_POWER = 2.0
_SMOOTHING = 1.0


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """``1 - 2 sum(p q) / max(sum p + sum q, 1e-7)`` over all pixels, classes and films of the batch.

    0 where the batch has no positive pixel. Spec: ``localized_evaluation``, section 3.4.
    """
    return _dice_losses(logits, masks, dims=tuple(range(logits.ndim)))


def dice_loss_per_class(logits: Tensor, masks: Tensor) -> Tensor:
    """The mean of one such loss a class, so that rare classes count as much as large ones (defect 8)."""
    return _dice_losses(logits, masks, dims=(0, *range(2, logits.ndim))).mean()


def focal_dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """GLoRIA's ``10 focal - ln(soft dice)``: focal with power 2, soft Dice over the batch with smoothing 1.

    Spec: ``downstream_protocols``, section 5.
    """
    wanted = masks.to(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    wrong = torch.sigmoid(logits * (1 - 2 * wanted))
    focal = (wrong**_FOCAL_POWER * entropy).mean()
    probability = logits.sigmoid()
    overlap = 2 * (probability * wanted).sum() + _SMOOTHING
    dice = overlap / (probability.sum() + wanted.sum() + _SMOOTHING)
    return _FOCAL_WEIGHT * focal - dice.log()


def bce_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean binary cross-entropy over pixels, classes and films."""
    return F.binary_cross_entropy_with_logits(logits, masks.to(logits))


def segmentation_loss(kind: SegmentationLoss) -> LossFunction:
    """The function of a name."""
    return {
        "dice": dice_loss,
        "dice_per_class": dice_loss_per_class,
        "focal_dice": focal_dice_loss,
        "bce": bce_loss,
    }[kind]


def _dice_losses(logits: Tensor, masks: Tensor, dims: tuple[int, ...]) -> Tensor:
    wanted = masks.to(logits)
    probability = logits.sigmoid()
    positive = wanted.sum(dim=dims)
    both = (probability.sum(dim=dims) + positive).clamp(min=_SMALLEST_SUM)
    loss = 1 - 2 * (probability * wanted).sum(dim=dims) / both
    return torch.where(positive > 0, loss, torch.zeros_like(loss))
