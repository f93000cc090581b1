"""Weights of items without their extremes (`baselines` spec, section 3 (b))."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def clipped_shares(weights: Tensor, low: float, high: float) -> Tensor:
    """Weights ``[B, N]`` whose entries above 0 are clipped to quantiles of their row and made to sum to 1.

    Entries of 0 (padding, or what nothing attends to) stay 0, and do not count in the quantiles. Quantiles lie linearly
    between neighbours, as :func:`torch.quantile`'s. A row of zeros stays one.
    """
    there = weights > 0
    ordered = weights.masked_fill(~there, torch.inf).sort(dim=1).values
    last = there.sum(dim=1, keepdim=True) - 1
    clipped = weights.clamp(_quantile(ordered, last, low), _quantile(ordered, last, high)).masked_fill(~there, 0.0)
    total = clipped.sum(dim=1, keepdim=True)
    return clipped / total.masked_fill(total == 0, 1.0)


def _quantile(ordered: Tensor, last: Tensor, share: float) -> Tensor:
    """``[B, 1]``: the entry at ``share`` of the way to ``last``, between two neighbours if need be."""
    place = last.clamp_min(0) * share
    below = place.floor()
    lower, upper = (ordered.gather(1, index.long()) for index in (below, place.ceil()))
    return torch.where(last < 0, 0.0, lower + (upper - lower).nan_to_num(0.0) * (place - below))
