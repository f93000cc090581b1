"""One table for every suite: the numbers of trained heads and of joint models side by side, as Parquet and as JSON.

``results.json`` and ``localized.json`` hold more, each in its own columns; here a row means the same wherever it is
from, so that the tables of many evaluations can be read as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from crossray.errors import CrossRayError
from crossray.evaluation.localized.table import LocalizedResults
from crossray.evaluation.results import Results
from crossray.evaluation.row_files import json_text, read_table_of
from crossray.evaluation.segmentation.scores import MODEL
from crossray.files import explained_disk_errors, write_whole
from crossray.settings import Settings

STEM = "numbers"

_KINDS: dict[type[object], pa.DataType] = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}


class Number(Settings):
    """One number.

    Attributes:
        protocol, preset: what was measured.
        changed: what was changed of a localized protocol; changes of an evaluation stand in its ``results.json``.
        task: retrieval, zero_shot, probe, ...; ``localized`` where a head was trained under a localized protocol.
        model, variant, kind: whose number it is: of the ``model``, a ``floor``, a ``baseline`` that looks at nothing,
            a ``difference``, ...
        metric, target: what was measured, of what.
        value, low, high, level: with its interval by patient.
        half_width, std: over runs, where there are several.
        n, positives: how many were scored, and how many of them have the target.
        seeds, source, store_hash, split, split_hash: what it was made with.
    """

    protocol: str
    preset: str
    changed: str
    task: str
    model: str
    variant: str
    kind: str
    metric: str
    target: str
    value: float | None
    low: float | None
    high: float | None
    level: float
    half_width: float | None
    std: float | None = None
    n: int | None
    positives: int | None
    seeds: str
    source: str
    store_hash: str
    split: str
    split_hash: str


class Numbers(Settings):
    """The table."""

    rows: tuple[Number, ...]


def numbers_of(results: Results | LocalizedResults) -> list[Number]:
    """The rows of a results table in the common columns."""
    if isinstance(results, LocalizedResults):
        level, names = results.provenance.level, set(Number.model_fields)
        own = {"task": "localized", "variant": "", "level": level}
        return [
            Number.model_validate(
                own
                | {"kind": "model" if row.predictor == MODEL else "baseline"}
                | {name: value for name, value in row.model_dump().items() if name in names}
                | {"model": row.model if row.predictor == MODEL else row.predictor}
            )
            for row in results.rows
        ]
    made = results.provenance
    shared = {
        "protocol": made.protocol,
        "preset": made.preset,
        "changed": "",
        "level": made.level,
        "half_width": None,
        "seeds": ", ".join(f"{name} {seed}" for name, seed in made.seeds.items()),
        "source": made.source,
        "store_hash": made.store_hash,
        "split": made.split_protocol,
        "split_hash": made.split_hash,
    }
    return [Number.model_validate(shared | row.model_dump()) for row in results.rows]


def write_numbers(rows: Sequence[Number], folder: Path) -> None:
    """Write ``numbers.json`` and ``numbers.parquet``, each whole or not at all."""
    columns = {
        name: pa.array([getattr(row, name) for row in rows], type=_column_type(field.annotation))
        for name, field in Number.model_fields.items()
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    with explained_disk_errors(CrossRayError, folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{STEM}.json", json_text(Numbers(rows=tuple(rows))))
        write_whole(folder / f"{STEM}.parquet", sink.getvalue().to_pybytes())


def read_numbers(folder: Path) -> tuple[Number, ...]:
    """The table of a folder.

    Raises:
        DataError: there is none that can be read.
    """
    return read_table_of(Numbers, folder / f"{STEM}.json", remedy="Run the evaluation again.").rows


def _column_type(annotation: object) -> pa.DataType:
    """``float | None`` and ``float`` alike are a column of floats."""
    return next(kind for type_, kind in _KINDS.items() if annotation in (type_, type_ | None))
