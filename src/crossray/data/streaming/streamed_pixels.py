"""Pixels of films whose store is at a URL: by block, from the cache or the network."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from crossray.data.store_manifest import StoreManifest
from crossray.data.streaming.block_cache import BlockCache
from crossray.data.streaming.cache_room import CacheRoom
from crossray.data.streaming.film_index import Block
from crossray.data.streaming.mirror import changes_told, table_bytes
from crossray.data.streaming.remote import RemoteFolder
from crossray.data.streaming.settings import StreamSettings
from crossray.errors import ConfigError
from crossray.settings import build_settings


class StreamedPixels:
    """Reads films of the store at a URL, whose blocks are given in order; several blocks at a time.

    Attributes:
        settings: how they are read; those of the environment if none are given.
        remote: where they are.
    """

    def __init__(
        self, url: str, manifest: StoreManifest, blocks: Sequence[Block], settings: StreamSettings | None
    ) -> None:
        self.settings = settings or build_settings(StreamSettings, {})
        self.remote = RemoteFolder(url, self.settings)
        self._blocks, self._area, self._store_hash = blocks, manifest.prepared_size**2, manifest.hash
        self._cache, self._tables = BlockCache(CacheRoom(self.settings)), table_bytes(manifest)

    def __call__(self, blocks: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """``[n, S * S]`` pixels of films.

        Args:
            blocks: ``[n]`` the block of each.
            places: ``[n]`` its place among the films of the block.

        Raises:
            StoreError: a block cannot be fetched, or is not what was written.
        """
        result = np.empty((len(blocks), self._area), dtype=np.uint8)

        def copy(number: int) -> None:
            films = self._block(self._blocks[number]).reshape(-1, self._area)
            rows = np.flatnonzero(blocks == number)
            result[rows] = films[places[rows]]

        with ThreadPoolExecutor(self.settings.connections) as pool:  # made here: threads do not outlive a fork
            list(pool.map(copy, np.unique(blocks).tolist()))
        return result

    def require_room(self, blocks: int) -> None:
        """Refuse to begin where so many blocks are needed again and again and the cache cannot hold them.

        Raises:
            ConfigError: it cannot; says what would be enough.
        """
        needed = blocks * max(block.length for block in self._blocks)
        if needed + self._tables > self.settings.cache_bytes:
            raise ConfigError(
                f"{self.settings.cache_bytes / 1e9:.3g} GB of cache do not hold {self._tables / 1e9:.3g} GB of tables "
                f"and the {needed / 1e9:.3g} GB of films that are met again and again: most would be fetched for every "
                "batch.",
                field="runtime.streaming.cache_gb",
                remedy="Give the cache more, or mix less: set data.order.lanes and data.order.shuffle.",
            )

    def _block(self, block: Block) -> NDArray[np.uint8]:
        def fetch() -> bytes:
            with changes_told(self.remote, self._store_hash):
                return self.remote.read(block.file, block.offset, block.length, block.sha256)

        return self._cache.block(block.sha256, block.length, fetch)
