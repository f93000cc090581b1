"""Small pools of films with something to find in them."""

from __future__ import annotations

import torch
from torch import Tensor

from crossray.evaluation.heads.boxes import BoxTargets
from crossray.evaluation.heads.maps import FeatureMaps, MapChannels
from crossray.evaluation.localized.parts import CachedMaps

SIDE = 64
CHANNELS = MapChannels({1: 1, 8: 12}, pooled=12)
"""Of :func:`feature_pool`."""

_POOL_SIDE = 16


def squares(count: int, seed: int = 0) -> tuple[Tensor, Tensor, BoxTargets]:
    """Films ``[n, 1, 64, 64]`` with a bright square on two of three, its mask ``[n, 1, 64, 64]`` and its box."""
    generator = torch.Generator().manual_seed(seed)
    films = 0.3 * torch.randn(count, 1, SIDE, SIDE, generator=generator)
    masks = torch.zeros(count, 1, SIDE, SIDE, dtype=torch.uint8)
    boxes: list[Tensor] = []
    for film in range(count):
        left, top, width, height = torch.randint(8, 32, (4,), generator=generator).tolist()
        present = film % 3 != 0
        boxes.append(torch.tensor([[left, top, width, height]] if present else []).reshape(-1, 4).float())
        if present:
            masks[film, :, top : top + height, left : left + width] = 1
            films[film] += masks[film]
    return films, masks, BoxTargets.of_films(boxes, [torch.zeros(len(each)) for each in boxes])


def feature_pool(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[CachedMaps, Tensor, Tensor]:
    """Maps ``[n, 12, 2, 2]`` that half tell where a mask is, the masks ``[n, 2, 16, 16]`` and labels ``[n, 2]``."""
    generator = torch.Generator().manual_seed(seed)
    small = (torch.rand(count, 2, 2, 2, generator=generator) > 0.6).to(dtype)
    mixing = torch.randn(12, 2, generator=torch.Generator().manual_seed(99), dtype=torch.float64).to(dtype)
    maps = torch.einsum("nkhw,ck->nchw", small, mixing)
    maps = maps + 1.5 * torch.randn(maps.shape, generator=generator, dtype=torch.float64).to(dtype)
    maps = maps.contiguous(memory_format=torch.channels_last)
    masks = small.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3) > 0
    labels = small.amax(dim=(2, 3)).float()
    labels[::7, 1] = torch.nan
    return CachedMaps(FeatureMaps({8: maps}, (_POOL_SIDE, _POOL_SIDE), maps.mean(dim=(2, 3)))), masks, labels
