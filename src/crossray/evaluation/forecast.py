"""What an evaluation would do: its pieces, which of them are done, and how long the others are expected to take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """Seconds that something will take, between two bounds (equal ones: an estimate), and what that is based on."""

    low: float
    high: float
    basis: str


@dataclass(frozen=True)
class Piece:
    """A piece of work that is kept on disk when it is done.

    Attributes:
        name: its name among the finished pieces.
        done: whether it is there.
        took: seconds that it took, if it is there and says so.
    """

    name: str
    done: bool
    took: float | None = None

    @property
    def line(self) -> str:
        """For a list."""
        took = f" ({duration(self.took)})" if self.took is not None else ""
        return f"  {self.name}: {'done' + took if self.done else 'to do'}"


@dataclass(frozen=True)
class Forecast:
    """Pieces that belong together, such as the trainings of one protocol.

    Attributes:
        title: a line about all of them.
        pieces: in the order in which they are made.
        expected: for those that are not done; ``None``: nothing is known about them.
    """

    title: str
    pieces: tuple[Piece, ...]
    expected: Expected | None = None

    @property
    def to_do(self) -> int:
        """How many are not done."""
        return sum(not piece.done for piece in self.pieces)

    @property
    def lines(self) -> list[str]:
        """Title, pieces, and how long the rest will take."""
        lines = [self.title, *(piece.line for piece in self.pieces)]
        if not self.pieces:
            return lines
        if not self.to_do:
            return [*lines, "  nothing is left to do"]
        return [*lines, f"  {self.to_do} to do: {_range(self.expected)}"]


def forecast_lines(forecasts: Sequence[Forecast], not_counted: str) -> list[str]:
    """Everything that is planned and a last line with the sum of what is known.

    Args:
        forecasts: what is planned.
        not_counted: what the times leave out, in words.
    """
    lines = [line for forecast in forecasts for line in forecast.lines]
    pieces, to_do = sum(len(each.pieces) for each in forecasts), sum(each.to_do for each in forecasts)
    known = [each.expected for each in forecasts if each.to_do and each.expected is not None]
    total = f"{pieces} pieces, {pieces - to_do} done, {to_do} to do"
    if known:
        low, high = sum(each.low for each in known), sum(each.high for each in known)
        total += f": {_between(low, high)}; {not_counted} not counted"
    unknown = sum(1 for each in forecasts if each.to_do and each.expected is None)
    return [*lines, total + (f"; of {unknown} groups no time is known" if unknown else "")]


def seconds_of(work: Callable[[], object]) -> float:
    """How long a piece of work takes, done once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def duration(seconds: float) -> str:
    """Two units at most, such as ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "below 1 s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 48 else f"{hours / 24:.1f} days"


def _range(expected: Expected | None) -> str:
    return "no time is known" if expected is None else f"{_between(expected.low, expected.high)} ({expected.basis})"


def _between(low: float, high: float) -> str:
    return f"about {duration(high)}" if duration(low) == duration(high) else f"{duration(low)} to {duration(high)}"
