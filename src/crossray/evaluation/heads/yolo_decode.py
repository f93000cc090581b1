"""From the logits of the YOLOv3 head to boxes: decoding, and suppression class by class.

Spec: ``localized_evaluation``, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from crossray.evaluation.heads.boxes import Detections
from crossray.evaluation.heads.yolo import YoloConfig, anchor_shapes

_LARGEST_LOG_SIDE = 10.0  # 20,000 anchors wide; beyond it an unlucky network's boxes would not be numbers


@dataclass(frozen=True)
class Candidates:
    """Every anchor of every cell of every scale, N in all.

    Attributes:
        boxes: ``[B, N, 4]`` left, top, right, bottom in pixels; they may leave the film.
        scores: ``[B, N]`` probability of an object.
        classes: ``[B, N, C]`` probability of each class.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


@torch.no_grad()
def decode(logits: Sequence[Tensor], size: tuple[int, int], config: YoloConfig) -> Candidates:
    """All candidate boxes of films of ``size`` (height, width); ``logits`` as :class:`YoloHead` gives them."""
    anchors = anchor_shapes(config, size[1]).to(logits[0].device)
    scales = [_decode_scale(each.float(), shapes, size) for each, shapes in zip(logits, anchors, strict=True)]
    every = torch.cat(scales, dim=1)
    return Candidates(every[..., :4], every[..., 4], every[..., 5:])


@torch.no_grad()
def suppress(candidates: Candidates, config: YoloConfig) -> Detections:
    """Drop what is not confident and, greedily within film and class, what overlaps a more confident box.

    The whole batch is one problem: boxes of two films, like those of two classes, never meet.
    """
    film, place = (candidates.scores >= config.confidence).nonzero(as_tuple=True)
    boxes, scores = candidates.boxes[film, place], candidates.scores[film, place]
    classes = candidates.classes[film, place].argmax(dim=1)
    # Doubles, because torchvision sets the groups apart by large offsets; one ulp less, because an overlap that equals
    # the threshold goes too.
    measured = boxes.double()
    measured[:, 2:] += config.overlap_margin
    threshold = math.nextafter(config.suppression, 0.0)
    kept = batched_nms(measured, scores.double(), film * candidates.classes.shape[2] + classes, threshold)
    kept = kept[torch.argsort(film[kept], stable=True)]
    return Detections(boxes[kept], scores[kept], classes[kept], film[kept], len(candidates.scores))


def _decode_scale(logits: Tensor, anchors: Tensor, size: tuple[int, int]) -> Tensor:
    """``[B, A h w, 5 + C]``: box, object, classes."""
    h, w = logits.shape[3:]
    cell = logits.new_tensor([size[1] / w, size[0] / h])
    rows, columns = torch.meshgrid(torch.arange(h).to(logits), torch.arange(w).to(logits), indexing="ij")
    corner = torch.stack([columns, rows], dim=-1)
    ordered = logits.permute(0, 1, 3, 4, 2)
    centre = (ordered[..., :2].sigmoid() + corner) * cell
    half = anchors[None, :, None, None] * ordered[..., 2:4].clamp(max=_LARGEST_LOG_SIDE).exp() / 2
    values = torch.cat([centre - half, centre + half, ordered[..., 4:].sigmoid()], dim=-1)
    return values.flatten(1, 3)
