"""What is said when a process that reads the data is killed: one error, where a batch is waited for, and no more."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

from crossray.errors import DataError

T = TypeVar("T")

#: For the kernel to report a death that a broken connection has shown already.
_PATIENCE_SECONDS = 5.0


def batches_of(loader: Iterable[T]) -> Iterator[T]:
    """The batches of a torch loader with worker processes.

    Raises:
        DataError: one of them was killed.
    """
    reports: _HeldBackReports | None = None
    try:
        batches = iter(loader)  # torch sets its handler of SIGCHLD here
        reports = _HeldBackReports()
        while (batch := reports.next_of(batches)) is not None:
            yield batch
    except (ConnectionError, EOFError) as error:  # torch asks only once whether the worker still lives
        if reports is not None:
            reports.take()
        raise _killed_worker() from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise _killed_worker() from error
    finally:
        if reports is not None:
            reports.restore()


class _HeldBackReports:
    """Lets torch's handler of SIGCHLD act only while a batch is waited for.

    It raises wherever the main thread happens to be: in the middle of a step, or of clearing up after the same death
    when a broken connection has told of it first. Then a stack trace follows the message, or stands in its place.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGCHLD)
        self._waiting = self._due = False
        self._set(self._note)

    def next_of(self, batches: Iterator[T]) -> T | None:
        """The next batch, ``None`` after the last one; or torch's RuntimeError about a worker."""
        self._waiting = True
        try:
            if self._due:
                self._due = False
                self._report()
            return next(batches, None)
        finally:
            self._waiting = False

    def take(self) -> None:
        """Take the report of a death that is known already, so that it comes at no other moment."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while callable(self._handler) and time.monotonic() < until:
            try:
                self._report()
            except RuntimeError:
                return
            time.sleep(0.01)

    def restore(self) -> None:
        """Let the handler act as before."""
        self._set(self._handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._waiting:
            self._report()
        else:
            self._due = True

    def _report(self) -> None:
        """Raises if a worker has died; of each loader torch tells it once."""
        if callable(self._handler):
            self._handler(signal.SIGCHLD, None)

    def _set(self, handler: Callable[[int, FrameType | None], Any] | int | signal.Handlers | None) -> None:
        # As torch does: elsewhere signals cannot be handled, and its own check every few seconds is left.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, handler)


def _killed_worker() -> DataError:
    return DataError(
        "a worker process that reads the data was killed, perhaps for want of memory.",
        field="runtime.workers",
        remedy="The same command goes on from what was saved last; fewer workers need less memory.",
    )
