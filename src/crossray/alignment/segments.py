"""Reductions over the segments of packed rows: row ``p`` of ``[P, K]`` belongs to segment ``segment[p]``.

Reports of different lengths are kept one after the other without padding; a segment is a report.
"""

from __future__ import annotations

import torch
from torch import Tensor


def segment_sum(rows: Tensor, segment: Tensor, count: int) -> Tensor:
    """Sum of each segment's rows: ``[P, K]`` to ``[count, K]``; an empty segment is zero."""
    return rows.new_zeros(count, rows.shape[1]).index_add(0, segment, rows)


def segment_max(rows: Tensor, segment: Tensor, count: int) -> Tensor:
    """Largest of each segment's rows: ``[P, K]`` to ``[count, K]``; an empty segment is zero."""
    index = segment.unsqueeze(1).expand_as(rows)
    return rows.new_zeros(count, rows.shape[1]).scatter_reduce(0, index, rows, "amax", include_self=False)


def segment_logsumexp(rows: Tensor, segment: Tensor, count: int) -> Tensor:
    """Log of the sum of exponentials of each segment's rows: ``[count, K]``; an empty segment is zero."""
    largest = segment_max(rows.detach(), segment, count)
    total = segment_sum((rows - largest[segment]).exp(), segment, count)
    empty = total == 0  # a segment with rows holds at least exp(0)
    return (total.masked_fill(empty, 1.0).log() + largest).masked_fill(empty, 0.0)


def segment_softmax_(rows: Tensor, segment: Tensor, count: int) -> Tensor:
    """Softmax of ``[P, K]`` over the rows of each segment, written into ``rows``. Not differentiable by itself."""
    with torch.no_grad():
        rows -= segment_max(rows, segment, count)[segment]
        rows.exp_()
        rows /= segment_sum(rows, segment, count)[segment]
    return rows
