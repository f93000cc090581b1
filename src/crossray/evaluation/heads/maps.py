"""What a trunk gives to a head: maps by their stride, the same for a CNN and a ViT."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from crossray.errors import ConfigError

INPUT = 1
"""The stride of the normalised film itself."""


@dataclass(frozen=True)
class FeatureMaps:
    """Maps of B films.

    Attributes:
        maps: by stride, ``[B, C, rows, columns]``; stride :data:`INPUT` is the normalised film.
        size: ``(height, width)`` of the film in the pixels that the trunk was given; masks and boxes are of this size.
        pooled: ``[B, C]`` the trunk's pooled feature, before any projection.
    """

    maps: dict[int, Tensor]
    size: tuple[int, int]
    pooled: Tensor

    def __len__(self) -> int:
        return len(self.pooled)

    def at(self, stride: int) -> Tensor:
        """The map of a stride.

        Raises:
            ConfigError: the trunk has none.
        """
        if stride not in self.maps:
            raise missing_stride(stride, sorted(self.maps))
        return self.maps[stride]

    def __getitem__(self, films: Tensor) -> FeatureMaps:
        """The maps of some films (their places ``[b]``), copied."""
        return FeatureMaps({stride: maps[films] for stride, maps in self.maps.items()}, self.size, self.pooled[films])


@dataclass(frozen=True)
class MapChannels:
    """What a head is built for: channels by stride, and the width of the pooled feature.

    ``flat``: every stage of the trunk has the same stride (a plain ViT), so heads that ask for several strides need a
    pyramid.
    """

    by_stride: dict[int, int]
    pooled: int
    flat: bool = False

    @property
    def coarsest(self) -> int:
        """The largest stride: that of the last map."""
        return max(self.by_stride)

    def at(self, stride: int) -> int:
        """Channels of a stride.

        Raises:
            ConfigError: the trunk has none.
        """
        if stride not in self.by_stride:
            raise missing_stride(stride, sorted(self.by_stride))
        return self.by_stride[stride]


def missing_stride(stride: int, known: list[int]) -> ConfigError:
    """The error of a head that asks a trunk for a stride which it does not have."""
    listed = ", ".join(str(each) for each in known)
    return ConfigError(
        f"this head needs a map of stride {stride}; the trunk has strides {listed}.",
        field="head",
        remedy="Choose a head that takes the last map only (linear, setr_pup), or another trunk.",
    )
