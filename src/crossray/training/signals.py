"""SIGTERM and Ctrl-C asked for, not suffered: the loop looks at the flag after each step, saves and ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_WATCHED = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """While the block runs, the first SIGTERM or SIGINT only raises the flag; a second one acts as usual.

    Outside the main thread signals cannot be watched, and the flag stays down.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in _WATCHED:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._give_back()

    def _give_back(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
