"""Results of localized protocols: rows that carry their protocol, written as JSON, CSV and Markdown."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossray.errors import CrossRayError, DataError
from crossray.evaluation.cells import DAMAGED_ARCHIVE
from crossray.evaluation.intervals import percentile_interval
from crossray.evaluation.localized.measures import Measured, Measures
from crossray.evaluation.localized.protocol import Preset
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.result_files import break_seal
from crossray.evaluation.row_files import finite, json_text, read_table_of, rows_as_csv
from crossray.evaluation.runs_interval import runs_interval
from crossray.evaluation.segmentation.scores import MODEL
from crossray.files import explained_disk_errors, sha256_of, write_whole
from crossray.settings import Settings

DRAWS_FILE = "localized_draws.npz"

_AGAIN = "Run crossray localized; finished trainings are kept."


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
        std: BenchX's ±, over runs: their standard deviation with the number of runs as divisor.
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
    std: float | None = None
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


def mean_of_runs(measures: Sequence[Measures], what: Measured) -> FloatArray:
    """``[1 + draws]``: the estimate and the draws of one measure, as the mean over runs, which share their draws."""
    found: FloatArray = np.stack([each[what] for each in measures]).mean(axis=0)
    return found


def row_numbers(measures: Sequence[Measures], what: Measured, level: float) -> dict[str, float | int | None]:
    """Value, interval (of the mean over runs) and half-width of one measure of several runs."""
    runs = np.stack([each[what] for each in measures])
    mean = mean_of_runs(measures, what)
    interval = percentile_interval(float(mean[0]), mean[1:], level)
    found = {"value": interval.estimate, "low": interval.low, "high": interval.high}
    numbers: dict[str, float | int | None] = {name: finite(value) for name, value in found.items()}
    if what.predictor == MODEL and len(runs) > 1 and not np.isnan(runs[:, 0]).any():
        over_runs = runs_interval(runs[:, 0].tolist())
        numbers |= {"half_width": over_runs.half_width, "distinct": over_runs.distinct}
        numbers["std"] = float(runs[:, 0].std())
    return numbers


def write_localized(results: LocalizedResults, folder: Path, samples: Sequence[FloatArray]) -> None:
    """Write ``localized.json``, ``.csv``, ``.md`` and ``localized_draws.npz``, each whole or not at all.

    When all else of the folder is written, ``seal_results`` is to be called.

    ``samples`` holds for each row its estimate and draws, ``[1 + draws]``: two trunks are compared on the same draws.
    """
    from crossray.evaluation.localized.markdown import markdown

    content = json_text(results)
    with explained_disk_errors(CrossRayError, folder):
        folder.mkdir(parents=True, exist_ok=True)
        break_seal(folder)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, results=np.array(hashlib.sha256(content.encode()).hexdigest()), draws=np.stack(samples).astype("f4")
        )
        write_whole(folder / DRAWS_FILE, buffer.getvalue())
        write_whole(folder / "localized.json", content)
        write_whole(folder / "localized.csv", rows_as_csv(results.rows, LocalizedRow))
        write_whole(folder / "localized.md", markdown(results))


def read_samples(folder: Path) -> FloatArray:
    """``[rows, 1 + draws]`` of the table beside it.

    Raises:
        DataError: there are none, they cannot be read, or they are of another table.
    """
    path = folder / DRAWS_FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            results, draws = str(file["results"]), file["draws"].astype(np.float64)
    except DAMAGED_ARCHIVE as error:
        raise DataError(f"holds no draws ({error}).", file=path, remedy=_AGAIN) from error
    if results != sha256_of(folder / "localized.json"):
        raise DataError("is of another table than the one beside it.", file=path, remedy=_AGAIN)
    return np.asarray(draws)


def read_localized(folder: Path) -> LocalizedResults:
    """Read a folder of results.

    Raises:
        DataError: there is no readable table in it.
    """
    return read_table_of(LocalizedResults, folder / "localized.json", remedy=_AGAIN)
