"""Blocks of films on the local disk: no more bytes than were allowed, those used longest ago thrown away first.

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

from crossray.errors import ConfigError, StoreError
from crossray.files import explained_disk_errors

_LOCKS = 256
_PART = ".part"


class BlockCache:
    """Blocks in a folder, at most ``most_bytes`` of them."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        self._locks = folder / "locks"
        self._known: set[str] = set()
        with explained_disk_errors(StoreError, folder):
            self._locks.mkdir(parents=True, exist_ok=True)

    def block(self, sha256: str, length: int, fetch: Callable[[], bytes]) -> NDArray[np.uint8]:
        """``[length]`` bytes, mapped from the cache or fetched into it; one process of the host fetches a block.

        Args:
            sha256: of the block.
            length: its bytes.
            fetch: gives the block, checked.

        Raises:
            ConfigError: a single block is larger than the cache may be.
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
        if len(content) > self._most_bytes:
            raise ConfigError(
                f"{self._most_bytes / 1e9:g} GB do not hold one block of {len(content) / 1e9:g} GB.",
                field="runtime.streaming.cache_gb, CROSSRAY_CACHE_GB",
            )
        with self._locked(_LOCKS):
            self._make_room(len(content))
            part = self._folder / f"{sha256}{_PART}"
            part.write_bytes(content)
            _touch(part)
            part.replace(self._folder / sha256)
        self._known.add(sha256)

    def _make_room(self, needed: int) -> None:
        """Throw away what was used longest ago, and parts that a killed process left (whoever writes has the lock)."""
        with os.scandir(self._folder) as entries:
            files = [(entry.stat(), Path(entry.path)) for entry in entries if entry.is_file()]
        total = sum(status.st_size for status, _ in files) + needed
        for status, path in sorted(files, key=lambda file: (file[1].suffix != _PART, file[0].st_mtime_ns)):
            if total <= self._most_bytes and path.suffix != _PART:
                break
            path.unlink(missing_ok=True)
            total -= status.st_size

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
