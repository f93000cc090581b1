"""Soft positives for regions: which regions of a grid count, and how much, as positives of each (`lovt` spec, 3.2)."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from crossray.alignment.precision import full_precision


def grid_positives(rows: int, columns: int, *, threshold: float, decay: float, like: Tensor) -> Tensor:
    """``p [R, R]`` of a grid of ``R = rows * columns`` regions, row-major; each row sums to 1.

    With d the distance of two grid points over ``sqrt(rows^2 + columns^2)`` (the diagonal of the grid, not the largest
    distance on it), the raw weight is ``exp(-decay * d)`` where ``d <= threshold`` and 0 elsewhere. Rows are normalised
    by themselves, so ``p`` is not symmetric.

    The comparison is made between whole numbers: squared distances against ``threshold^2 (rows^2 + columns^2)``, the
    threshold read as the decimal it is written as. On a grid of 2 x 2 a tie at exactly 0.5 is met (section 5.16).

    Args:
        rows: of the grid.
        columns: of the grid.
        threshold: T.
        decay: beta; 0 makes the positives uniform within the threshold.
        like: gives device and precision.
    """
    diagonal = rows**2 + columns**2
    limit = math.floor(Fraction(str(threshold)) ** 2 * diagonal)
    place = torch.arange(rows * columns, device=like.device)
    row, column = place // columns, place % columns
    squared = (row.unsqueeze(1) - row).square() + (column.unsqueeze(1) - column).square()
    distance = (squared.to(full_precision(like).dtype) / diagonal).sqrt()
    raw = torch.exp(-decay * distance).masked_fill(squared > limit, 0.0)
    return raw / raw.sum(dim=1, keepdim=True)
