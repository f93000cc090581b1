"""Cross-modality conditional reconstruction: a film from its damaged regions and what the report says of them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.encoders.image import ImageEncoder
from crossray.methods.prior.config import Damage, PriorConfig


class ImageDecoder(nn.Module):
    """Regions and their report contexts to a film ``[B, 1, height, width]`` (`prior` spec, 2.6).

    Each block doubles the map and convolves it twice; the last one has the size of the film, whatever that is.

    Args:
        width: D of regions and contexts.
        channels: of the first block; each further block has half of the one before.
        blocks: the published five go from 7 × 7 to 224 × 224.
        damage: what of the regions is dropped in training: whole channels, or whole regions.
        share: how much of them.
    """

    def __init__(self, width: int, *, channels: int, blocks: int, damage: Damage, share: float) -> None:
        super().__init__()
        self._damage: Damage = damage
        self._share = share
        sizes = [2 * width, *(max(channels >> k, 1) for k in range(blocks))]
        self.blocks = nn.ModuleList(
            nn.Sequential(*_convolution(before, after), *_convolution(after, after))
            for before, after in pairwise(sizes)
        )
        self.output = nn.Conv2d(sizes[-1], 1, 3, padding=1)

    def forward(self, regions: Tensor, contexts: Tensor, size: tuple[int, int]) -> Tensor:
        """``regions`` and ``contexts`` as maps ``[B, D, rows, columns]``; ``size`` is the film's."""
        maps = torch.cat([self._damaged(regions), contexts], dim=1)
        for block, target in zip(self.blocks, block_sizes(size, len(self.blocks)), strict=True):
            maps = block(F.interpolate(maps, target, mode="nearest"))
        film: Tensor = self.output(maps)
        return film

    def _damaged(self, regions: Tensor) -> Tensor:
        """Dropout of whole channels or whole regions, the rest enlarged accordingly; nothing in evaluation."""
        if self._damage == "channel":
            return F.dropout2d(regions, self._share, self.training)
        kept = F.dropout(torch.ones_like(regions[:, :1]), self._share, self.training)
        return regions * kept


def block_sizes(size: tuple[int, int], blocks: int) -> list[tuple[int, int]]:
    """Sizes of the maps after each block: halved backwards from the film's, rounded up."""
    return [(-(-size[0] // 2**k), -(-size[1] // 2**k)) for k in reversed(range(blocks))]


def _convolution(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def image_decoder(encoder: ImageEncoder, config: PriorConfig) -> nn.Module:
    """The decoder for a trunk: as many blocks as it halved the film; batch norm synchronised if the trunk's is."""
    decoder = ImageDecoder(
        config.embed_dim,
        channels=config.decoder_channels or config.embed_dim,
        blocks=max(round(math.log2(encoder.reduction)), 1),
        damage=config.damage,
        share=config.damage_share,
    )
    if encoder.config.batch_norm != "sync":
        return decoder
    synchronised: Any = nn.SyncBatchNorm.convert_sync_batchnorm
    converted: nn.Module = synchronised(decoder)
    return converted
