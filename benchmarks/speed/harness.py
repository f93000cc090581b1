"""Two sides timed in turn, and what is said of their ratio."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Side = Callable[[], object]


@dataclass(frozen=True)
class Options:
    """How much is measured: ``quick`` means sizes at which figures say nothing, for tests."""

    quick: bool
    rounds: int
    threads: int

    def pick(self, full: Any, quick: Any) -> Any:
        return quick if self.quick else full


@dataclass(frozen=True)
class Measured:
    """One row: the median of ``n`` figures, the least and the largest of them; ``detail`` says what else was seen.

    ``method`` says what the figures are: ratios of wall times of one round, of bytes, ...
    """

    row: str
    median: float
    low: float
    high: float
    n: int
    method: str
    detail: str = ""


def interleaved(sides: Mapping[str, Side], rounds: int, *, warm_ups: int = 1) -> dict[str, list[float]]:
    """Wall seconds of each side in each round; in a round the sides follow each other, every second one backwards."""
    for _ in range(warm_ups):
        for run in sides.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        names = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        for name in names:
            start = time.perf_counter()
            sides[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio_row(
    row: str, above: list[float], below: list[float], *, detail: str = "", of: str = "wall times"
) -> Measured:
    """The ratio of each round's two figures."""
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return figures_row(row, ratios, method=f"ratio of {of}, sides in turn", detail=detail)


def figures_row(row: str, figures: list[float], *, method: str, detail: str = "") -> Measured:
    return Measured(row, statistics.median(figures), min(figures), max(figures), len(figures), method, detail)


def seconds_of(seconds: Mapping[str, list[float]], unit: Literal["s", "ms"] = "ms") -> str:
    """Median of each side, for the detail of a row."""
    scale = 1000 if unit == "ms" else 1
    return ", ".join(f"{name} {scale * statistics.median(times):.3g} {unit}" for name, times in seconds.items())


def in_a_process(module: str, *arguments: str, threads: int) -> dict[str, Any]:
    """What ``python -m MODULE ARGUMENTS`` prints last, as JSON: for what is measured of a whole process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", module, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr}")
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def peak_bytes() -> int:
    """The most memory that this process has held at once (Linux's VmHWM)."""
    return _status_bytes("VmHWM")


def held_bytes() -> int:
    """The memory that this process holds now (VmRSS)."""
    return _status_bytes("VmRSS")


def forget_peak() -> None:
    """Let the peak begin again at what is held now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status_bytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in status if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
