"""How a grid is stopped: by SIGTERM, by Ctrl-C, or by the clock. All three save first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_WATCHED = (signal.SIGTERM, signal.SIGINT)


class StopAskedError(BaseException):
    """A signal outside training: what is being written is whole or absent, so that anything may be left at once.

    Not an ``Exception``: a failing piece is recorded and passed over, this must not be.
    """


class Interrupts:
    """What asks a grid to stop. ``time_is_up`` says that it was the clock."""

    def __init__(self) -> None:
        self.time_is_up = False
        self._previous: dict[int, Any] = {}

    @contextmanager
    def watched(self, minutes: float | None = None) -> Iterator[None]:
        """While the block runs, a signal leaves it by a :class:`StopAskedError`, and so does the clock.

        A second signal acts as usual. Training watches the same signals while it runs: it saves, and tells of the
        signal in its summary. Outside the main thread nothing is watched, and there is no clock.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        clock = None if minutes is None else threading.Timer(60 * minutes, self._ring)
        try:
            for number in _WATCHED:
                self._previous[number] = signal.signal(number, self._stop)
            if clock is not None:
                clock.daemon = True
                clock.start()
            yield
        finally:
            if clock is not None:
                clock.cancel()
            self._give_back()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._give_back()
        raise StopAskedError(number)

    def _ring(self) -> None:
        """The time is up: the grid sends itself a signal, which also training understands."""
        self.time_is_up = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _give_back(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
