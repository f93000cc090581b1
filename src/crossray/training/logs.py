"""What a run writes about itself: ``metrics.jsonl``, tensorboard files, and a progress bar."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crossray.errors import CheckpointError
from crossray.files import check_fences, explained_disk_errors, write_whole
from crossray.training.config import RuntimeConfig

METRICS_FILE = "metrics.jsonl"


def keep_metrics_up_to(folder: Path, step: int) -> None:
    """Drop the lines that a resumed run will write again (and a line that a kill cut short)."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record["step"] <= step:
            kept.append(line + "\n")
    write_whole(path, "".join(kept))


class RunLog:
    """Writes lines of figures; on all processes but the first it writes nothing.

    A line is ``{"kind": "train" | "validation", "step": ..., "epoch": ..., <figures>}``; ``step`` counts finished
    optimiser steps, ``epoch`` is the epoch they belong to, both from 1. A method with stages has its ``stage`` too.
    """

    def __init__(self, folder: Path, runtime: RuntimeConfig, *, total_steps: int, step: int, writes: bool) -> None:
        self._writes = writes
        self._tensorboard: Any = None
        self._pairs = 0
        if not writes:
            return
        with explained_disk_errors(CheckpointError, folder):
            check_fences(folder)
            self._file = (folder / METRICS_FILE).open("a", encoding="utf-8", buffering=1)
        if runtime.tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # half a second to import

            self._tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not runtime.progress,
        )
        self._task = self._bar.add_task("training", total=total_steps, completed=step, speed="")

    def __enter__(self) -> RunLog:
        if self._writes:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._writes:
            return
        self._bar.stop()
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()

    def record(
        self,
        kind: Literal["train", "validation"],
        *,
        step: int,
        epoch: int,
        stage: str | None,
        figures: Mapping[str, float],
    ) -> None:
        """Write one line."""
        if not self._writes:
            return
        place = {"kind": kind, "step": step, "epoch": epoch} | ({"stage": stage} if stage is not None else {})
        with explained_disk_errors(CheckpointError, Path(self._file.name)):
            check_fences(Path(self._file.name))
            self._file.write(json.dumps({**place, **figures}) + "\n")
        if self._tensorboard is not None:
            for name, value in figures.items():
                self._tensorboard.add_scalar(f"{kind}/{name}", value, step)

    def advance(self, *, epoch: int, epochs: int, loss: float, pairs_per_second: float) -> None:
        """Move the bar by one step."""
        if self._writes:
            self._bar.update(
                self._task,
                advance=1,
                description=f"epoch {epoch}/{epochs}  loss {loss:.4f}",
                speed=f"{pairs_per_second:.1f} pairs/s",
            )

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        if self._writes:
            self._bar.console.print(message, highlight=False, soft_wrap=True)
