"""Maps of a frozen trunk, computed once for a data set and read by every learning rate, seed and fraction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.films import Rows
from crossray.evaluation.localized.parts import CachedMaps, bytes_of_maps, frozen_maps
from crossray.evaluation.localized.pixels import FilmPixels

Say = Callable[[str], None]

_GIGABYTE = 1e9


class MapShelf:
    """Keeps the maps that were asked for last.

    Args:
        trunk: is frozen by this.
        gigabytes: that maps may take.
        say: told what is computed, or why nothing is.
    """

    def __init__(self, trunk: MapTrunk, gigabytes: float, say: Say) -> None:
        self._trunk, self._gigabytes, self._say = trunk, gigabytes, say
        self._key: tuple[str, int, float, float] | None = None
        self._strides: frozenset[int] = frozenset()
        self._rows = np.zeros(0, dtype=np.int64)
        self._maps: CachedMaps | None = None

    def maps(
        self, pixels: FilmPixels, rows: Rows, also: Rows, strides: frozenset[int]
    ) -> tuple[CachedMaps, Rows] | None:
        """The maps of a pool of films that holds ``rows``, and the rows of that pool, ascending.

        Args:
            pixels: of which store the films are, and how they are normalised.
            rows: films that are needed now.
            also: films that other tasks will need of the same trunk; they are computed with them, if there is room.
            strides: of the maps.

        Returns:
            ``None`` if there is no room for them.
        """
        if self._holds(pixels, rows, strides) and self._maps is not None:
            return self._maps, self._rows
        pool = self.pool(pixels, rows, also, strides)
        if pool is None:
            needed = self._gigabytes_of(pixels, np.unique(rows), strides)
            self._say(
                f"maps of {len(np.unique(rows))} films would take {needed:.1f} GB, more than the "
                f"{self._gigabytes:g} GB of --memory: the trunk runs in every step"
            )
            return None
        self._maps = None  # before the new ones are made: both may not fit
        self._say(f"maps of {len(pool)} films, once")
        self._maps = frozen_maps(self._trunk, _of_places(pixels, pool), len(pool), strides)
        self._key, self._rows, self._strides = pixels.key, pool, strides
        return self._maps, pool

    def pool(self, pixels: FilmPixels, rows: Rows, also: Rows, strides: frozenset[int]) -> Rows | None:
        """Which films maps would be made of, ascending; ``None`` if there is no room. Arguments as of :meth:`maps`."""
        pools = [np.unique(np.concatenate([rows, also])), np.unique(rows)]
        fitting = (pool for pool in pools if self._gigabytes_of(pixels, pool, strides) <= self._gigabytes)
        return next(fitting, None)

    def _gigabytes_of(self, pixels: FilmPixels, rows: Rows, strides: frozenset[int]) -> float:
        return len(rows) * bytes_of_maps(self._trunk, (pixels.size, pixels.size), strides) / _GIGABYTE

    def _holds(self, pixels: FilmPixels, rows: Rows, strides: frozenset[int]) -> bool:
        return self._key == pixels.key and strides <= self._strides and bool(np.isin(rows, self._rows).all())


def _of_places(pixels: FilmPixels, rows: Rows) -> Callable[[Tensor], Tensor]:
    return lambda places: pixels(rows[places.numpy()])
