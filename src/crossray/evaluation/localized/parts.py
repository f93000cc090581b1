"""Films of one part of a task: where their pixels or maps come from, and what is true of them.

With a frozen trunk and no augmentation a film's maps never change. They are computed once, by :func:`frozen_maps`, and
every learning rate, seed and fraction reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from crossray.errors import DataError
from crossray.evaluation.heads.maps import FeatureMaps
from crossray.evaluation.heads.trunk import MapTrunk

TargetT = TypeVar("TargetT")

FilmPixels = Callable[[Tensor], Tensor]
"""Places of films ``[b]`` to normalised films ``[b, 1, height, width]``."""

_BYTES_OF_A_NUMBER = 4


class CachedMaps:
    """Maps of a pool of films, read by place.

    Args:
        maps: of all films of the pool.
    """

    def __init__(self, maps: FeatureMaps) -> None:
        self.maps = maps

    def __len__(self) -> int:
        return len(self.maps)

    def __call__(self, places: Tensor) -> FeatureMaps:
        """Maps of the films at ``places [b]``."""
        return self.maps[places]


@dataclass(frozen=True)
class LocalizedPart(Generic[TargetT]):
    """Training, validation or test films.

    Attributes:
        inputs: places ``[b]`` to normalised films ``[b, 1, height, width]``, or to their maps (:class:`CachedMaps`).
        targets: places ``[b]`` to what is true: masks ``[b, K, height, width]`` (0 outside, 1 or 255 inside, 127
            unknown), :class:`BoxTargets`, or labels ``[b, K]`` (NaN unknown). A tensor's or a ``BoxTargets``' own
            ``__getitem__`` serves.
        places: ``[n]`` which films of the pool belong to this part.
        varied: what training is given instead of ``inputs``: films at places, varied by seed and epoch.
    """

    inputs: Callable[[Tensor], Tensor | FeatureMaps]
    targets: Callable[[Tensor], TargetT]
    places: Tensor
    varied: Callable[[Tensor, int, int], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def only(self, places: Tensor) -> LocalizedPart[TargetT]:
        """The same pool with other films of it, such as a fraction."""
        return replace(self, places=places)


@torch.no_grad()
def frozen_maps(
    trunk: MapTrunk,
    pixels: FilmPixels,
    films: int,
    strides: Collection[int] = (),
    *,
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
) -> CachedMaps:
    """Run a trunk once over films 0 to ``films - 1`` and keep its maps.

    Args:
        trunk: is frozen by this.
        pixels: see :data:`FilmPixels`.
        films: how many there are.
        strides: of the maps that are kept, from those that the trunk gives; the pooled feature always is.
        batch_size: films at a time.
        progress: called with the number of films done.

    Raises:
        DataError: there is no film.

    Maps are kept with channels last, so that a linear head may read places and channels as a matrix without a copy.
    """
    if films < 1:
        raise DataError("there is no film to make maps of.")
    trunk.freeze()
    kept: dict[int, Tensor] = {}
    pooled, size = torch.empty(0), (0, 0)
    for start in range(0, films, batch_size):
        places = torch.arange(start, min(start + batch_size, films))
        maps = trunk(pixels(places))
        if not start:
            size, pooled = maps.size, maps.pooled.new_empty(films, maps.pooled.shape[1])
            kept = {stride: _room_for(maps.at(stride), films) for stride in strides}
        pooled[places] = maps.pooled
        for stride, room in kept.items():
            room[places] = maps.at(stride)
        if progress is not None:
            progress(int(places[-1]) + 1)
    return CachedMaps(FeatureMaps(kept, size, pooled))


def bytes_of_maps(trunk: MapTrunk, size: tuple[int, int], strides: Collection[int]) -> int:
    """What :func:`frozen_maps` keeps of one film of ``size``; for those who must decide whether memory holds all."""
    numbers = trunk.channels.pooled
    for stride in strides:
        numbers += trunk.channels.at(stride) * (size[0] // stride) * (size[1] // stride)
    return numbers * _BYTES_OF_A_NUMBER


def _room_for(maps: Tensor, films: int) -> Tensor:
    shape = (films, *maps.shape[1:])
    return torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
