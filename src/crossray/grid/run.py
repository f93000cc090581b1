"""A grid carried out: piece by piece, what is done is skipped, what fails is recorded and passed over."""

from __future__ import annotations

import gc
import json
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from crossray.errors import ConfigError, CrossRayError, FolderTakenError
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.validator import RetrievalValidator
from crossray.files import explained_disk_errors, write_json
from crossray.grid.config import Grid, as_overrides
from crossray.grid.interrupts import Interrupts, StopAskedError
from crossray.grid.plan import STAMP_FILE, Evaluation, Piece, Pretraining, State, pieces_of, refuse_changed, table
from crossray.ownership import owned
from crossray.training.pretrain import pretrain
from crossray.training.run_folder import run_outcome

FAILURES_FILE = "failures.jsonl"
ENTRIES_FILE = "entries.json"

Say = Callable[[str], None]


@dataclass
class GridOutcome:
    """What a call of a grid came to: titles of pieces, and what stopped it (a signal's number), if anything did."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    signal: int | None = None
    time_is_up: bool = False

    @property
    def exit_code(self) -> int:
        """0 all done, 1 something failed, 3 the time was up, 130 or 143 stopped by a signal."""
        if self.time_is_up:
            return 3
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.failed or self.left else 0

    def lines(self, out: Path, seconds: float) -> list[str]:
        """The account at the end of a call."""
        told = [
            f"{len(self.done)} pieces done in {_clock(seconds)}, {len(self.skipped)} were done before, "
            f"{len(self.failed)} failed, {len(self.left)} had to wait."
        ]
        if self.failed:
            told.append(f"Failed: {'; '.join(self.failed)}. The errors: {out / FAILURES_FILE}.")
        if self.time_is_up or self.signal is not None:
            why = "The time is up" if self.time_is_up else f"Stopped by {signal.Signals(self.signal or 15).name}"
            told.append(f"{why}, saved. The same command goes on from there.")
        return told


def plan_lines(grid: Grid, out: Path, only: str | None = None) -> list[str]:
    """The plan and how far it is; nothing is written."""
    pieces = pieces_of(grid, out, _settings(grid), only)
    return table([(piece, piece.state()) for piece in pieces])


def run_grid(grid: Grid, out: Path, *, say: Say, only: str | None = None, minutes: float | None = None) -> GridOutcome:
    """Pretrain and evaluate what is not done yet.

    Args:
        grid: what to do.
        out: gets ``runs/<entry>/seed<k>-fold<j>``, ``results/<entry>/seed<k>``, ``cells`` and ``failures.jsonl``.
        say: is told the plan and one line for each piece.
        only: names of entries, with commas.
        minutes: after so many a running piece is saved and the grid ends.

    Raises:
        ConfigError: a run in ``out`` has another configuration.
        FolderInUseError, FolderTakenError: another grid works in ``out``.
    """
    outcome, started, interrupts = GridOutcome(), time.monotonic(), Interrupts()
    try:
        with owned(out, kind=ConfigError) as hold, interrupts.watched(minutes):
            if hold.taken_over_from is not None:
                say(f"Taken over from {hold.taken_over_from}, which ended without saying so.")
            states = [(piece, piece.state()) for piece in pieces_of(grid, out, _settings(grid), only)]
            refuse_changed(states)
            for line in table(states):
                say(line)
            write_json(out / ENTRIES_FILE, list(dict.fromkeys([*entries_of(out), *grid.config.entries])))
            _Walk(grid, out, say, states, outcome, started).go()
    except StopAskedError as stop:
        outcome.signal = int(stop.args[0])
    outcome.time_is_up = interrupts.time_is_up
    for line in outcome.lines(out, time.monotonic() - started):
        say(line)
    return outcome


@dataclass
class _Walk:
    """One pass over the plan."""

    grid: Grid
    out: Path
    say: Say
    states: Sequence[tuple[Piece, State]]
    outcome: GridOutcome
    started: float
    seconds: dict[type, list[float]] = field(default_factory=dict)

    def go(self) -> None:
        """Every piece that is not done; ends early if training was stopped by a signal."""
        for place, (piece, state) in enumerate(self.states):
            if state.status == "done":
                self.outcome.skipped.append(piece.title)
                continue
            self._say(place, piece.title + (f" (goes on: {state.detail})" if state.status == "partial" else ""))
            before = time.monotonic()
            try:
                self._do(piece)
            except FolderTakenError:  # another grid goes on with all of it
                raise
            except Exception as error:  # whatever one piece fails of, the others are still worth their hours
                self._record_failure(piece, error)
            self.seconds.setdefault(type(piece), []).append(time.monotonic() - before)
            gc.collect()  # a method and its optimiser hold each other: let go of them before the next one
            if self.outcome.signal is not None:
                return

    def _do(self, piece: Piece) -> None:
        if isinstance(piece, Pretraining):
            summary = pretrain(piece.recipe, piece.folder, validator=RetrievalValidator())
            if summary.outcome == "interrupted":
                self.outcome.signal = summary.signal or int(signal.SIGTERM)
                return
        else:
            missing = [run.name for run in piece.runs if run_outcome(run) in (None, "training")]
            if missing:
                self.say(f"    not evaluated: {', '.join(missing)} did not end.")
                self.outcome.left.append(piece.title)
                return
            self._evaluate(piece)
        self.outcome.done.append(piece.title)

    def _evaluate(self, piece: Evaluation) -> None:
        request = EvaluationRequest(
            runs=piece.runs,
            out=piece.folder,
            tasks=",".join(piece.tasks),
            settings=piece.settings,
            cells=self.out / "cells",
            checkpoint=piece.checkpoint,
            report=self.grid.config.evaluation.report,
        )
        evaluate_runs(request, progress=lambda line: self.say(f"    {line}"))
        write_json(piece.folder / STAMP_FILE, piece.stamp())

    def _record_failure(self, piece: Piece, error: Exception) -> None:
        self.outcome.failed.append(piece.title)
        self.say(f"    FAILED: {type(error).__name__}: {error}")
        record = {
            "time": datetime.now(UTC).isoformat(" ", "seconds"),
            "piece": piece.title,
            "entry": piece.entry,
            "seed": piece.seed,
            "kind": type(error).__name__,
            "error": str(error),
        }
        with (
            explained_disk_errors(CrossRayError, self.out),
            (self.out / FAILURES_FILE).open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _say(self, place: int, title: str) -> None:
        left = self._seconds_left(place)
        rest = "" if left is None else f", about {_clock(left)} to go"
        self.say(f"[{place + 1}/{len(self.states)}] {_clock(time.monotonic() - self.started)}{rest}: {title}")

    def _seconds_left(self, place: int) -> float | None:
        """From the mean of this call's pieces of each kind; None until there is one of each that is still to do."""
        kinds = [type(piece) for piece, state in self.states[place:] if state.status != "done"]
        if any(kind not in self.seconds for kind in kinds):
            return None
        return sum(sum(self.seconds[kind]) / len(self.seconds[kind]) for kind in kinds)


def entries_of(out: Path) -> list[str]:
    """The entries of every grid that has worked in a folder, in order; empty if none has."""
    path = out / ENTRIES_FILE
    entries: list[str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return entries


def _settings(grid: Grid) -> list[str]:
    return as_overrides(grid.config.evaluation.settings)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
