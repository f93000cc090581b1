"""One grid at a time in a folder: a lock that dies with its process."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from crossray.errors import ConfigError, CrossRayError
from crossray.files import explained_disk_errors

LOCK_FILE = "grid.lock"


class GridLock:
    """Held while a grid works in ``folder``.

    The kernel holds the lock, for this process alone: however the process dies, the lock is free. What stands in the
    file only says whose it is or was; ``taken_over`` is that account if its owner died without clearing it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_FILE
        self.taken_over: str | None = None
        self._file: IO[str] | None = None

    def __enter__(self) -> GridLock:
        with explained_disk_errors(CrossRayError, self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+", encoding="utf-8")
        self._file.seek(0)
        before = _owner(self._file.read())
        try:
            # Not flock: that lock would live on in worker processes of a grid that was killed.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ConfigError(
                f"another grid works here ({before or 'owner unknown'}).",
                file=self.path.parent,
                remedy="Wait for it, stop it, or choose another --out.",
            ) from error
        self.taken_over = before
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(" ", "seconds")}
        self._write(json.dumps(owner))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._write("")
            self._file.close()

    def _write(self, content: str) -> None:
        assert self._file is not None  # only called while it is open
        self._file.seek(0)
        self._file.truncate()
        self._file.write(content)
        self._file.flush()


def _owner(written: str) -> str | None:
    """Who holds or held a lock, in words; None if the file says nothing."""
    try:
        content: Any = json.loads(written)
        return f"process {content['pid']} on {content['host']}, since {content['since']}"
    except (ValueError, KeyError, TypeError):
        return None
