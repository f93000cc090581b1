"""k-means, for where a codebook begins."""

from __future__ import annotations

import torch
from torch import Tensor

from crossray.alignment.segments import segment_sum


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Index of the nearest centre by Euclidean distance: ``[..., D]`` and ``[K, D]`` to ``[...]`` int64."""
    flat = points.reshape(-1, points.shape[-1])
    return torch.cdist(flat, centres).argmin(dim=1).view(points.shape[:-1])


@torch.no_grad()
def k_means(points: Tensor, count: int, *, iterations: int, generator: torch.Generator) -> Tensor:
    """Centres ``[count, D]`` of ``points [P, D]``; Lloyd's algorithm from a k-means++ start.

    Where there are fewer different points than centres, the surplus centres repeat points.
    """
    centres = _spread_start(points, count, generator)
    for _ in range(iterations):
        own = nearest(points, centres)
        size = torch.bincount(own, minlength=count).unsqueeze(1)
        total = segment_sum(points, own, count)
        centres = torch.where(size > 0, total / size.clamp_min(1), centres)
    return centres


def _spread_start(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next centre is a point drawn with probability proportional to its squared distance so far."""
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    distance = (points - points[chosen[0]]).square().sum(dim=1)
    for _ in range(count - 1):
        weights = distance.cpu().double() + torch.finfo(torch.float64).tiny
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(dim=1))
    return points[chosen].clone()
