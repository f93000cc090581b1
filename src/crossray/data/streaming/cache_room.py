"""The cache of stores at URLs as a whole: films and tables of all of them within one bound, looked at, emptied."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from crossray.data.streaming.kept_stores import KeptStore, kept_stores
from crossray.data.streaming.settings import FILMS, STORES, StreamSettings
from crossray.errors import ConfigError

PART = ".part"
_WRITING = "256"


@dataclass(frozen=True)
class _Block:
    """A block of films: processes that have mapped it keep it, so it may go at any time."""

    path: Path
    bytes: int
    used_ns: int

    def remove(self) -> bool:
        self.path.unlink(missing_ok=True)
        return True


@dataclass(frozen=True)
class CacheContents:
    """What lies in the cache: blocks of films and their bytes, and stores whose tables are kept."""

    blocks: int
    block_bytes: int
    stores: tuple[KeptStore, ...]


class CacheRoom:
    """The folder of a cache, which films and tables of all stores share; what was used longest ago goes first."""

    def __init__(self, settings: StreamSettings) -> None:
        self.films, self.stores = settings.made_folder(FILMS), settings.made_folder(STORES)
        self.most_bytes = settings.cache_bytes

    def require(self, needed: int = 0) -> None:
        """Make room for so many bytes of films; whoever asks holds :meth:`writing`.

        Raises:
            ConfigError: there is not so much beside the tables that processes are reading.
        """
        blocks, stores = self._blocks(), kept_stores(self.stores)
        for left in (block for block in blocks if block.path.suffix == PART):  # by a process that was killed
            left.remove()
        oldest_first: list[_Block | KeptStore] = [*(block for block in blocks if block.path.suffix != PART), *stores]
        oldest_first.sort(key=lambda one: one.used_ns)
        total = needed + sum(one.bytes for one in oldest_first)
        for one in oldest_first:
            if total <= self.most_bytes:
                break
            total -= one.bytes if one.remove() else 0
        if total > self.most_bytes:
            films = f" and one block of {needed / 1e9:.3g} GB" if needed else ""
            raise ConfigError(
                f"{self.most_bytes / 1e9:.3g} GB do not hold the tables of the stores that are being read "
                f"({(total - needed) / 1e9:.3g} GB){films}.",
                field="runtime.streaming.cache_gb, CROSSRAY_CACHE_GB",
                remedy="Give the cache more, or another folder; 'crossray data cache' shows what lies there.",
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One process of a host at a time makes room and puts something there."""
        locks = self.films / "locks"
        locks.mkdir(exist_ok=True)
        with (locks / _WRITING).open("a") as file:
            with suppress(OSError):  # a file system without locks: the bound may then be passed by a block or two
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def contents(self) -> CacheContents:
        """What lies there now."""
        blocks = self._blocks()
        return CacheContents(len(blocks), sum(block.bytes for block in blocks), tuple(kept_stores(self.stores)))

    def empty(self) -> None:
        """Remove all films, and the tables of all stores that no process is reading."""
        with self.writing():
            for block in self._blocks():
                block.remove()
            for store in kept_stores(self.stores):
                store.remove()

    def _blocks(self) -> list[_Block]:
        found = []
        with os.scandir(self.films) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_file():
                        status = entry.stat()
                        found.append(_Block(Path(entry.path), status.st_size, status.st_mtime_ns))
        return found
