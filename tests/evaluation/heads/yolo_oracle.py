"""Targets and loss of the YOLOv3 head as loops over films, boxes and anchors, with probabilities and masks."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.evaluation.heads.boxes import BoxTargets

Grids = dict[str, Tensor]


def slow_targets(
    targets: BoxTargets, anchors: list[tuple[float, float]], cells: tuple[int, int], size: int, classes: int, plus: int
) -> Grids:
    h, w = cells
    shape = (targets.films, len(anchors), h, w)
    grids = {name: torch.zeros(shape) for name in ("m", "x", "y", "w", "h")} | {"n": torch.ones(shape)}
    grids["c"] = torch.zeros(*shape, classes)
    for box, label, film in zip(targets.boxes.tolist(), targets.classes.tolist(), targets.film.tolist(), strict=True):
        left, top, width, height = (value * cells[1] / size for value in box)
        x, y = left + width / 2, top + height / 2
        column, row = min(int(x), w - 1), min(int(y), h - 1)
        overlaps = []
        for number, (anchor_width, anchor_height) in enumerate(anchors):
            a, b = anchor_width * w / size, anchor_height * h / size
            common = (min(width, a) + plus) * (min(height, b) + plus)
            overlaps.append(common / ((width + plus) * (height + plus) + (a + plus) * (b + plus) - common))
            if overlaps[-1] > 0.5:
                grids["n"][film, number, row, column] = 0
        best = overlaps.index(max(overlaps))
        grids["m"][film, best, row, column] = 1
        grids["x"][film, best, row, column] = x - column
        grids["y"][film, best, row, column] = y - row
        grids["w"][film, best, row, column] = math.log(width / (anchors[best][0] * w / size))
        grids["h"][film, best, row, column] = math.log(height / (anchors[best][1] * h / size))
        grids["c"][film, best, row, column, label] = 1
    return grids


def slow_loss(logits: Tensor, grids: Grids) -> Tensor:
    m, n, c = grids["m"], grids["n"], grids["c"]
    x, y, confidence = logits[:, :, 0].sigmoid(), logits[:, :, 1].sigmoid(), logits[:, :, 4].sigmoid()
    bce, mse = F.binary_cross_entropy, F.mse_loss
    loss = 2.5 * (bce(x * m, grids["x"] * m) + bce(y * m, grids["y"] * m))
    loss = loss + 2.5 * (mse(logits[:, :, 2] * m, grids["w"] * m) + mse(logits[:, :, 3] * m, grids["h"] * m))
    loss = loss + bce(confidence * m, m) + 0.5 * bce(confidence * n, torch.zeros_like(n))
    if c.shape[-1] > 1:
        chances = logits[:, :, 5:].sigmoid().permute(0, 1, 3, 4, 2)
        loss = loss + bce(chances * m[..., None], c * m[..., None])
    return loss
