"""Blocks of films on the local disk, within the room of the cache.

Processes of a host share the folder. Blocks are named by their sha256 and hashed when a process first uses them, so a
damaged one is fetched again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.streaming.cache_room import PART, CacheRoom
from crossray.errors import StoreError
from crossray.files import explained_disk_errors

_LOCKS = 256


class BlockCache:
    """Blocks in the folder of films of a cache."""

    def __init__(self, room: CacheRoom) -> None:
        self._folder, self._room = room.films, room
        self._locks = room.films / "locks"
        self._known: set[str] = set()
        with explained_disk_errors(StoreError, self._folder):
            self._locks.mkdir(parents=True, exist_ok=True)

    def block(self, sha256: str, length: int, fetch: Callable[[], bytes]) -> NDArray[np.uint8]:
        """``[length]`` bytes, mapped from the cache or fetched into it; one process of the host fetches a block.

        Args:
            sha256: of the block.
            length: its bytes.
            fetch: gives the block, checked.

        Raises:
            ConfigError: there is no room for a single block.
            StoreError: the cache cannot be written.
        """
        with explained_disk_errors(StoreError, self._folder):
            found = self._kept(sha256, length)
            if found is not None:
                return found
            with self._locked(int(sha256[:8], 16) % _LOCKS):
                found = self._kept(sha256, length)  # another process or thread may have fetched it meanwhile
                if found is None:
                    content = fetch()
                    self._keep(sha256, content)
                    found = np.frombuffer(content, dtype=np.uint8)
            return found

    def _kept(self, sha256: str, length: int) -> NDArray[np.uint8] | None:
        path = self._folder / sha256
        try:
            if path.stat().st_size != length:
                return None
            content: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
            _touch(path)
        except FileNotFoundError:  # never there, or thrown away by another process just now
            return None
        if sha256 not in self._known:
            if hashlib.sha256(content.data).hexdigest() != sha256:
                return None
            self._known.add(sha256)
        return content

    def _keep(self, sha256: str, content: bytes) -> None:
        with self._room.writing():
            self._room.require(len(content))
            part = self._folder / f"{sha256}{PART}"
            part.write_bytes(content)
            _touch(part)
            part.replace(self._folder / sha256)
        self._known.add(sha256)

    @contextmanager
    def _locked(self, number: int) -> Iterator[None]:
        with (self._locks / f"{number:03d}").open("a") as file:
            with suppress(OSError):  # a file system without locks: a block may then be fetched twice
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _touch(path: Path) -> None:
    """Note that a block is used now; the kernel's own clock would not tell blocks of the same batch apart."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))
