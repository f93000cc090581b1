"""Reductions over real items only: padding, whatever it holds, never enters a result."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Mean of ``values [..., n, C]`` over the real items of ``mask [..., n]``; zeros where none is real.

    ``dim`` is the dimension of the items, counted from the front.
    """
    real = mask.unsqueeze(-1)
    total = values.masked_fill(~real, 0.0).sum(dim)
    return total / real.sum(dim).clamp_min(1)


def masked_max(values: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Largest of ``values [..., n, C]`` over the real items of ``mask [..., n]``; zeros where none is real."""
    real = mask.unsqueeze(-1)
    lowest = torch.finfo(values.dtype).min
    largest = values.masked_fill(~real, lowest).amax(dim)
    return largest.masked_fill(~real.any(dim), 0.0)


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax of ``scores`` over the real items along ``dim``; zeros on padding and where none is real.

    ``mask`` broadcasts against ``scores``.
    """
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~mask, lowest).softmax(dim).masked_fill(~mask, 0.0)


def sum_by_index(vectors: Tensor, index: Tensor, slots: int) -> Tensor:
    """Sum vectors that share an index: ``[B, L, C]`` with ``index [B, L]`` to ``[B, slots, C]``.

    Items with an index below 0 are dropped; slots that nothing fell into are zero. One scatter-add, no loop:
    word-pieces become words and tokens become sentences through this.
    """
    batch, length, width = vectors.shape
    row = torch.arange(batch, device=index.device).unsqueeze(1) * (slots + 1)
    target = row + index.masked_fill(index < 0, slots)
    total = vectors.new_zeros(batch * (slots + 1), width)
    total = total.index_add(0, target.flatten(), vectors.reshape(batch * length, width))
    return total.view(batch, slots + 1, width)[:, :slots]


def max_by_index(vectors: Tensor, index: Tensor, slots: int) -> Tensor:
    """Largest of the vectors that share an index: as :func:`sum_by_index`, and zeros where nothing fell into a slot."""
    batch, _, width = vectors.shape
    target = index.masked_fill(index < 0, slots).unsqueeze(2).expand(-1, -1, width)
    largest = vectors.new_zeros(batch, slots + 1, width)
    return largest.scatter_reduce(1, target, vectors, "amax", include_self=False)[:, :slots]


def count_by_index(index: Tensor, slots: int) -> Tensor:
    """How many items share each index: ``index [B, L]`` to ``[B, slots]`` int64; below 0 is not counted."""
    ones = torch.ones_like(index).unsqueeze(-1)
    return sum_by_index(ones, index, slots)[..., 0]


def first_real(vectors: Tensor, mask: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """Real items moved to the front, in order, cut to ``slots``; and their mask.

    ``vectors [B, L, C]`` and ``mask [B, L]`` to ``[B, slots, C]``, zeros on padding, and ``[B, slots]``.
    """
    count = mask.sum(dim=1, keepdim=True)
    index = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, :slots]
    real = torch.arange(slots, device=mask.device) < count
    moved = vectors.gather(1, index.unsqueeze(2).expand(-1, -1, vectors.shape[2]))
    return moved.masked_fill(~real.unsqueeze(2), 0.0), real
