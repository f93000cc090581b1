"""Tables of stores at URLs in the cache: which there are, and removing those that no process reads.

Beside a store's folder lie ``NAME.lock``, held by whoever fetches its tables, and ``NAME.used``: its size, when it was
used last (its time of change), and a lock that every process shares which reads it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ORIGIN_NAME = "origin.json"
#: Locks of the stores that this process has opened, kept until it ends: workers open the folder by its name later.
_HELD: dict[Path, IO[str]] = {}


@dataclass(frozen=True)
class KeptStore:
    """A store of which the tables are kept.

    Attributes:
        folder: where.
        bytes: what they take.
        used_ns: when it was opened last.
    """

    folder: Path
    bytes: int
    used_ns: int

    @property
    def url(self) -> str:
        """Where it is from."""
        try:
            return str(json.loads((self.folder / ORIGIN_NAME).read_bytes())["url"])
        except (OSError, ValueError, LookupError, TypeError):
            return "an address that is not known any more"

    @property
    def in_use(self) -> bool:
        """Whether a process fetches or reads it."""
        with self._to_itself() as alone:
            return not alone

    def remove(self) -> bool:
        """Remove it unless it is in use; whether it is gone."""
        with self._to_itself() as alone:
            if alone:
                shutil.rmtree(self.folder, ignore_errors=True)
            return alone

    @contextmanager
    def _to_itself(self) -> Iterator[bool]:
        # The lock files stay: one that is removed and made again would be two locks.
        with ExitStack() as opened:
            try:
                for suffix in ("lock", "used"):
                    file = opened.enter_context(_beside(self.folder, suffix).open("a"))
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # held by others, or a file system without locks: then nothing is removed
                yield False
                return
            yield True


@contextmanager
def fetching(folder: Path) -> Iterator[None]:
    """One process of a host at a time; the others find what it fetched."""
    with _beside(folder, "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def hold(folder: Path, size: int) -> None:
    """Note that this process reads a store, of so many bytes, until it ends."""
    path = _beside(folder, "used")
    file = _HELD.get(path)
    if file is None:
        file = path.open("a")
        fcntl.flock(file, fcntl.LOCK_SH)
        _HELD[path] = file
    path.write_text(str(size))
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def kept_stores(folder: Path) -> list[KeptStore]:
    """The stores in a folder of the cache."""
    found = []
    for store in sorted(path for path in folder.glob("*") if path.is_dir()):
        used = _beside(store, "used")
        try:
            found.append(KeptStore(store, int(used.read_text()), used.stat().st_mtime_ns))
        except (OSError, ValueError):  # of an earlier version, or just being opened
            size = sum(file.stat().st_size for file in store.glob("*") if file.is_file())
            found.append(KeptStore(store, size, store.stat().st_mtime_ns))
    return found


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")
