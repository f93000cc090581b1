"""What each anchor of each place should say, for a whole batch at once.

Spec: ``localized_evaluation``, section 3.3; numeric check E5. A box is assigned once at every scale, whatever its size:
to the anchor whose shape overlaps its own most, in the cell of its centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crossray.evaluation.heads.boxes import BoxTargets

_IGNORED_OVERLAP = 0.5


@dataclass(frozen=True)
class ScaleTargets:
    """Targets of one scale; ``h`` x ``w`` cells, A anchors.

    Attributes:
        assigned: ``[B, A, h, w]`` 1 where an anchor has a box.
        empty: ``[B, A, h, w]`` 1 where an anchor should say that there is nothing. As published, an assigned anchor
            whose shape overlaps its box by no more than a half is asked for both.
        offsets: ``[B, A, 4, h, w]`` x and y in the cell, log width and height over the anchor's; 0 if not assigned.
        classes: ``[B, A, C, h, w]`` one-hot; of several boxes in one place, all their classes.
    """

    assigned: Tensor
    empty: Tensor
    offsets: Tensor
    classes: Tensor


def scale_targets(
    targets: BoxTargets, anchors: Tensor, cells: tuple[int, int], size: tuple[int, int], classes: int, margin: float
) -> ScaleTargets:
    """Targets of one scale.

    Args:
        targets: boxes in pixels of films of ``size`` (height, width).
        anchors: ``[A, 2]`` width and height in those pixels.
        cells: ``(h, w)`` of the scale.
        size: of the films.
        classes: C.
        margin: added to every side, in cells, before shapes are compared; 1 is the "+1" of the released code.

    Where several boxes want the same anchor of the same cell, the last one has it.
    """
    h, w = cells
    per_cell = torch.tensor([size[1] / w, size[0] / h], dtype=anchors.dtype, device=anchors.device)
    boxes = targets.boxes.to(anchors) / per_cell.repeat(2)
    shape, shapes = boxes[:, 2:], anchors / per_cell
    centre = boxes[:, :2] + shape / 2
    column = centre[:, 0].long().clamp(0, w - 1)
    row = centre[:, 1].long().clamp(0, h - 1)
    overlap = shape_overlap(shape, shapes, margin)
    best = overlap.argmax(dim=1)

    blank = torch.zeros(targets.films, len(anchors), h, w, dtype=anchors.dtype, device=anchors.device)
    assigned, empty = blank.clone(), torch.ones_like(blank)
    offsets, one_hot = blank.new_zeros(*blank.shape, 4), blank.new_zeros(*blank.shape, classes)
    box, anchor = (overlap > _IGNORED_OVERLAP).nonzero(as_tuple=True)
    empty[targets.film[box], anchor, row[box], column[box]] = 0
    assigned[targets.film, best, row, column] = 1
    one_hot[targets.film, best, row, column, targets.classes] = 1
    inside = centre - torch.stack([column, row], dim=1)
    wanted = torch.cat([inside, (shape / shapes[best]).log()], dim=1)
    last = _last_in_its_place(((targets.film * len(anchors) + best) * h + row) * w + column, blank.numel())
    offsets[targets.film[last], best[last], row[last], column[last]] = wanted[last]
    return ScaleTargets(assigned, empty, offsets.permute(0, 1, 4, 2, 3), one_hot.permute(0, 1, 4, 2, 3))


def shape_overlap(shapes: Tensor, others: Tensor, margin: float) -> Tensor:
    """``[n, A]`` intersection over union of shapes ``[n, 2]`` and ``[A, 2]`` laid on one corner."""
    common = (torch.minimum(shapes[:, None], others[None]) + margin).prod(dim=2)
    areas = (shapes + margin).prod(dim=1)[:, None] + (others + margin).prod(dim=1)[None]
    return common / (areas - common)


def _last_in_its_place(place: Tensor, places: int) -> Tensor:
    """Of every place that occurs in ``place [n]``, the index of its last occurrence."""
    # Writing to one place twice has no defined winner, so the winner is chosen before anything is written.
    index = torch.arange(len(place), device=place.device)
    winner = torch.full((places,), -1, device=place.device).scatter_reduce(0, place, index, "amax")
    return winner[winner >= 0]
