"""The loss of the YOLOv3 head, summed over its scales.

Spec: ``localized_evaluation``, section 3.3; numeric check E5.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.evaluation.heads.boxes import BoxTargets
from crossray.evaluation.heads.yolo import YoloConfig, anchor_shapes
from crossray.evaluation.heads.yolo_targets import ScaleTargets, scale_targets

_PLACE_WEIGHT = 2.5
_SHAPE_WEIGHT = 2.5
_EMPTY_WEIGHT = 0.5


def yolo_loss(logits: Sequence[Tensor], targets: BoxTargets, size: tuple[int, int], config: YoloConfig) -> Tensor:
    """Scalar, in single precision even under mixed precision.

    Args:
        logits: ``[B, A, 5 + C, h, w]`` a scale, coarse first.
        targets: boxes in pixels of films of ``size``.
        size: ``(height, width)`` of the films.
        config: anchors, overlap, class term.
    """
    total = logits[0].new_zeros((), dtype=torch.float32)
    for scale, anchors in zip(logits, anchor_shapes(config, size[1]).to(logits[0].device), strict=True):
        classes = scale.shape[2] - 5
        cells = (scale.shape[3], scale.shape[4])
        wanted = scale_targets(targets, anchors, cells, size, classes, config.overlap_margin)
        total = total + scale_loss(scale.float(), wanted, class_term=classes > 1 or config.class_term == "always")
    return total


def scale_loss(logits: Tensor, wanted: ScaleTargets, *, class_term: bool) -> Tensor:
    """The terms of one scale; every mean is over all anchors of all cells, zeros included.

    The published code multiplies probabilities with masks and takes their cross-entropy. Where a mask is 0 that is 0,
    so here the cross-entropy of the logits is masked: the same number, and no logarithm of a rounded probability.
    """
    assigned = wanted.assigned.unsqueeze(2)
    place = _cross_entropy(logits[:, :, :2], wanted.offsets[:, :, :2]) * assigned
    shape = (logits[:, :, 2:4] - wanted.offsets[:, :, 2:4]).square() * assigned
    found = F.softplus(-logits[:, :, 4]) * wanted.assigned
    nothing = F.softplus(logits[:, :, 4]) * wanted.empty
    loss = _PLACE_WEIGHT * _over_anchors(place) + _SHAPE_WEIGHT * _over_anchors(shape)
    loss = loss + found.mean() + _EMPTY_WEIGHT * nothing.mean()
    if class_term:
        loss = loss + (_cross_entropy(logits[:, :, 5:], wanted.classes) * assigned).mean()
    return loss


def _over_anchors(terms: Tensor) -> Tensor:
    """Sum over the two coordinates (dimension 2) of their means over anchors and cells."""
    return terms.mean(dim=(0, 1, 3, 4)).sum()


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
