"""PRIOR's pools: the mean of several vectors looks once at itself and at all of them (`prior` spec, 2.1 and 2.3).

Of the published self-attention over the mean and the vectors only the mean's own row is kept, so only it is computed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.alignment.masked import masked_mean
from crossray.methods.attention_pool import AttentionPool
from crossray.methods.prior.config import PriorConfig


class SentencePool(nn.Module):
    """Sentences ``[B, S, D]`` to a report ``[B, D]``, blind to their order."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = AttentionPool(width, heads, start="linear")

    def forward(self, sentences: Tensor, mask: Tensor) -> Tensor:
        """``mask [B, S]``: True = a real sentence; a report of none is its mean alone, the zero vector."""
        mean = masked_mean(sentences, mask, dim=1)
        rows = torch.cat([mean.unsqueeze(1), sentences], dim=1)
        pooled: Tensor = self.attention(rows, F.pad(mask, (1, 0), value=True), query=mean).vector
        return pooled


class ImagePool(nn.Module):
    """Places ``[B, R, C]`` of a map to a film ``[B, C]``; each has a position of its own, as in CLIP's ResNets.

    Args:
        width: C, a multiple of ``heads``.
        heads: attention heads.
        grid: rows and columns of the table of positions; it is stretched where a map has others.
    """

    def __init__(self, width: int, heads: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.attention = AttentionPool(width, heads, start="linear")
        self._grid = grid
        self.positions = nn.Parameter(torch.randn(1 + grid[0] * grid[1], width) / width**0.5)

    def forward(self, places: Tensor, grid: tuple[int, int]) -> Tensor:
        """``places`` are row-major over ``grid``."""
        positions = self.positions if grid == self._grid else self._stretched(grid)
        rows = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1) + positions
        real = torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
        pooled: Tensor = self.attention(rows, real, query=rows[:, 0]).vector
        return pooled

    def _stretched(self, grid: tuple[int, int]) -> Tensor:
        table = self.positions[1:].view(*self._grid, -1).permute(2, 0, 1).unsqueeze(0)
        stretched = F.interpolate(table, grid, mode="bilinear", align_corners=False)
        return torch.cat([self.positions[:1], stretched[0].flatten(1).T])


def image_pool(channels: int, config: PriorConfig) -> ImagePool | None:
    """The pool for a trunk's last map; ``None`` where the trunk's own mean is taken.

    Raises:
        ConfigError: the map's width does not fit the heads.
    """
    return ImagePool(channels, config.pool_heads, config.position_grid) if config.image_pooling == "attention" else None
