"""Results of localized protocols: rows that carry their protocol, written as JSON, CSV and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossray.errors import CrossRayError
from crossray.evaluation.intervals import percentile_interval
from crossray.evaluation.localized.measures import Measured, Measures
from crossray.evaluation.localized.protocol import Preset
from crossray.evaluation.row_files import finite, json_text, read_table_of, rows_as_csv
from crossray.evaluation.runs_interval import runs_interval
from crossray.evaluation.segmentation.scores import MODEL
from crossray.files import explained_disk_errors, write_whole
from crossray.settings import Settings


class LocalizedRow(Settings):
    """One number.

    Attributes:
        protocol, preset: which protocol, and whether with its published defects.
        changed: what was changed of it, as ``key=value``; empty: it is as shipped.
        model: the trunk.
        metric, target: what was measured, of which class (or the mean over several).
        predictor: ``model``, or a baseline that looks at nothing (``all-empty``, ``all-positive``).
        headline: whether it is the protocol's own metric.
        value: mean over the runs; ``None`` where undefined.
        low, high: 95 % interval of that mean, by bootstrap over patients of the test side.
        half_width: LoVT's, over runs: 1.96 s / sqrt(runs); ``None`` with a single run.
        runs, distinct, seeds: how many, how many different values, and which.
        n, positives: test films, and those that have the target (none for a mean over several).
        train, validation: films that were trained on and chosen by.
        learning_rate, batch_size: what was used.
        source, store_hash, split, split_hash: what it was measured on.
    """

    protocol: str
    preset: Preset
    changed: str = ""
    model: str
    metric: str
    target: str
    predictor: str = MODEL
    headline: bool = False
    value: float | None
    low: float | None = None
    high: float | None = None
    half_width: float | None = None
    runs: int
    distinct: int | None = None
    seeds: str
    n: int
    positives: int | None = None
    train: int
    validation: int
    learning_rate: float
    batch_size: int
    source: str
    store_hash: str
    split: str
    split_hash: str


class LocalizedProvenance(Settings):
    """Where the numbers come from: enough to make them again."""

    suite: str
    model: str
    trunk_hash: str
    draws: int
    level: float
    bootstrap_seed: int
    normalisation: dict[str, tuple[float, float]]
    searched: dict[str, tuple[tuple[float, float | None], ...]]
    skipped: dict[str, str]
    command: str
    versions: dict[str, str]
    date: str


class LocalizedResults(Settings):
    """A table and its provenance."""

    provenance: LocalizedProvenance
    rows: tuple[LocalizedRow, ...]

    def headline(self, protocol: str) -> LocalizedRow:
        """The model's row of a protocol's own metric.

        Raises:
            KeyError: the protocol is not in the table.
        """
        for row in self.rows:
            if row.protocol == protocol and row.headline and row.predictor == MODEL:
                return row
        raise KeyError(protocol)


def numbers_of(measures: Sequence[Measures], what: Measured, level: float) -> dict[str, float | int | None]:
    """Value, interval and half-width of one measure of several runs.

    The runs share their draws of patients, so the interval is that of their mean.
    """
    runs = np.stack([each[what] for each in measures])
    mean = runs.mean(axis=0)
    interval = percentile_interval(float(mean[0]), mean[1:], level)
    found = {"value": interval.estimate, "low": interval.low, "high": interval.high}
    numbers: dict[str, float | int | None] = {name: finite(value) for name, value in found.items()}
    if what.predictor == MODEL and len(runs) > 1 and not np.isnan(runs[:, 0]).any():
        over_runs = runs_interval(runs[:, 0].tolist())
        numbers |= {"half_width": over_runs.half_width, "distinct": over_runs.distinct}
    return numbers


def write_localized(results: LocalizedResults, folder: Path) -> None:
    """Write ``localized.json``, ``localized.csv`` and ``localized.md``, each whole or not at all."""
    from crossray.evaluation.localized.markdown import markdown

    content = json_text(results)
    with explained_disk_errors(CrossRayError, folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "localized.json", content)
        write_whole(folder / "localized.csv", rows_as_csv(results.rows, LocalizedRow))
        write_whole(folder / "localized.md", markdown(results))


def read_localized(folder: Path) -> LocalizedResults:
    """Read a folder of results.

    Raises:
        DataError: there is no readable table in it.
    """
    return read_table_of(LocalizedResults, folder / "localized.json", remedy="Run crossray localized.")
