"""One table of results: rows that carry their protocol, written as JSON, CSV and Markdown."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from crossray.errors import CrossRayError
from crossray.evaluation.intervals import Interval
from crossray.evaluation.result_files import break_seal
from crossray.evaluation.row_files import finite, json_text, read_table_of, rows_as_csv
from crossray.files import explained_disk_errors, write_whole
from crossray.settings import Settings


@dataclass(frozen=True)
class Sample:
    """Bootstrap draws of a number ``[draws]``. No part of what makes two rows equal: files of rows hold none."""

    draws: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32), compare=False, repr=False)

    def __bool__(self) -> bool:
        return len(self.draws) > 0


class Row(Settings):
    """One number.

    Attributes:
        task: retrieval, zero_shot, grounding, probe, finetune, ... (``tables.TASK_TITLES``).
        model: what was evaluated, or "A − B" for a paired difference.
        variant: direction of retrieval, scorer of zero-shot, pooling of folds.
        metric: AUROC, AP, ECE, Brier, R@1, ..., median rank, pointing game, ...
        target: the label, finding or direction, or the mean over some.
        value, low, high: estimate and interval; ``None`` where undefined or exact.
        n, positives: studies (or queries, or phrases) with a known label, and those with the finding.
        kind: a model, a floor, chance, or a paired difference.
    """

    task: str
    model: str
    variant: str = ""
    metric: str
    target: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    positives: int | None = None
    kind: str = "model"

    _sample: Sample = PrivateAttr(default=Sample())

    @property
    def sample(self) -> Sample:
        """The bootstrap draws behind the interval; empty in a row that was read from a file."""
        return self._sample


class Provenance(Settings):
    """Where the numbers come from: enough to make them again.

    ``tested`` is a hash of the tested studies in order; ``caveats`` what must be read with a task's figures of these
    models, beside ``tables.CAVEATS``, which hold for every model.
    """

    protocol: str
    preset: str
    split_protocol: str
    split_hash: str
    store_hash: str
    source: str
    folds: tuple[str, ...]
    runs: dict[str, str]
    seeds: dict[str, int]
    draws: int
    level: float
    studies: int
    tested: str = ""
    left_out: tuple[str, ...] = ()
    labels: tuple[str, ...]
    common_labels: tuple[str, ...]
    choices: dict[str, str]
    caveats: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, object]
    command: str
    versions: dict[str, str]
    date: str


class Results(Settings):
    """A table and its provenance."""

    provenance: Provenance
    rows: tuple[Row, ...]

    def select(self, **conditions: str) -> list[Row]:
        """Rows whose fields equal the conditions, in order: ``select(task="probe", metric="AUROC")``."""
        return [row for row in self.rows if all(getattr(row, name) == value for name, value in conditions.items())]

    def one(self, **conditions: str) -> Row:
        """The single row of these conditions.

        Raises:
            KeyError: there is none, or more than one.
        """
        found = self.select(**conditions)
        if len(found) != 1:
            raise KeyError(f"{len(found)} rows for {conditions}")
        return found[0]


def row_of(interval: Interval, **fields: object) -> Row:
    """A row from an interval; what is not finite becomes ``None``."""
    bounds = {name: finite(getattr(interval, field)) for name, field in _BOUNDS}
    row = Row.model_validate({**fields, **bounds})
    if interval.sample is not None:
        row._sample = Sample(np.asarray(interval.sample, dtype=np.float32))
    return row


_BOUNDS = (("value", "estimate"), ("low", "low"), ("high", "high"))


def command_line() -> str:
    """The command that this process was started with, as one would type it."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def write_results(results: Results, folder: Path) -> None:
    """Write ``results.json``, ``results.csv``, ``results.md`` and ``draws.npz``, each whole or not at all.

    When all else of the folder is written, :func:`seal_results` is to be called.
    """
    from crossray.evaluation.draws import write_draws
    from crossray.evaluation.tables import markdown

    content = json_text(results)
    with explained_disk_errors(CrossRayError, folder):
        folder.mkdir(parents=True, exist_ok=True)
        break_seal(folder)
        write_draws(results, content, folder)
        write_whole(folder / "results.json", content)
        write_whole(folder / "results.csv", rows_as_csv(results.rows, Row))
        write_whole(folder / "results.md", markdown(results))


def read_results(folder: Path) -> Results:
    """Read a results folder.

    Raises:
        DataError: there is no readable table in it.
    """
    return read_table_of(Results, folder / "results.json", remedy="Run crossray evaluate.")
