"""Films of two stores under one numbering, for a classifier that learns on one and is tested on the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossray.data.store import Store
from crossray.errors import ConfigError


class JoinedFilms:
    """Two stores' films under one numbering: those of the second come after the first's.

    Raises:
        ConfigError: the two were prepared at different sizes.
    """

    def __init__(self, first: Store, second: Store) -> None:
        if first.prepared_size != second.prepared_size:
            raise ConfigError(
                f"the two stores were prepared at {first.prepared_size} and {second.prepared_size} pixels.",
                remedy="Prepare one of them again at the size of the other.",
            )
        self._stores, self.offset = (first, second), first.film_count

    def pixels(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """``[n, S, S]`` uint8 prepared films, in the order of ``rows``."""
        wanted = np.asarray(rows, dtype=np.int64)
        own = [wanted < self.offset, wanted >= self.offset]
        size = self._stores[0].prepared_size
        films = np.empty((len(wanted), size, size), dtype=np.uint8)
        for store, mine, start in zip(self._stores, own, (0, self.offset), strict=True):
            if mine.any():
                films[mine] = store.pixels(wanted[mine] - start)
        return films
