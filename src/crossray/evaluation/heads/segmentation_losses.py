"""Losses of the segmentation tasks: pure functions of logits and masks ``[B, K, height, width]``.

Masks are boolean, or bytes: 0 outside, 1 or 255 inside, 127 unknown. An unknown pixel takes no part in a loss.
Nothing in them branches on values, so that ``torch.func.vmap`` can run them for a whole grid of heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.evaluation.segmentation.counts import IGNORED

SegmentationLoss = Literal["dice", "dice_per_class", "focal_dice", "bce"]

LossFunction = Callable[[Tensor, Tensor], Tensor]

_INSIDE = 255
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
    wanted, known = _read(masks, logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    wrong = torch.sigmoid(logits * (1 - 2 * wanted))
    focal = _mean(wrong**_FOCAL_POWER * entropy, known)
    probability = _probability(logits, known)
    overlap = 2 * (probability * wanted).sum() + _SMOOTHING
    dice = overlap / (probability.sum() + wanted.sum() + _SMOOTHING)
    return _FOCAL_WEIGHT * focal - dice.log()


def bce_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean binary cross-entropy over pixels, classes and films."""
    wanted, known = _read(masks, logits)
    return _mean(F.binary_cross_entropy_with_logits(logits, wanted, reduction="none"), known)


def segmentation_loss(kind: SegmentationLoss) -> LossFunction:
    """The function of a name."""
    return {
        "dice": dice_loss,
        "dice_per_class": dice_loss_per_class,
        "focal_dice": focal_dice_loss,
        "bce": bce_loss,
    }[kind]


def known_pixels(masks: Tensor) -> tuple[Tensor, Tensor | None]:
    """Boolean ``(inside, known)`` of masks; ``None`` where every pixel is known, as in boolean masks."""
    if masks.dtype == torch.bool:
        return masks, None
    return (masks == 1) | (masks == _INSIDE), masks != IGNORED


def _dice_losses(logits: Tensor, masks: Tensor, dims: tuple[int, ...]) -> Tensor:
    wanted, known = _read(masks, logits)
    probability = _probability(logits, known)
    positive = wanted.sum(dim=dims)
    both = (probability.sum(dim=dims) + positive).clamp(min=_SMALLEST_SUM)
    loss = 1 - 2 * (probability * wanted).sum(dim=dims) / both
    return torch.where(positive > 0, loss, torch.zeros_like(loss))


def _read(masks: Tensor, logits: Tensor) -> tuple[Tensor, Tensor | None]:
    inside, known = known_pixels(masks)
    return inside.to(logits), known


def _probability(logits: Tensor, known: Tensor | None) -> Tensor:
    """0, and no gradient, where nothing is known."""
    return (logits if known is None else logits.masked_fill(~known, -torch.inf)).sigmoid()


def _mean(terms: Tensor, known: Tensor | None) -> Tensor:
    if known is None:
        return terms.mean()
    return torch.where(known, terms, torch.zeros_like(terms)).sum() / known.sum().clamp(min=1)
