"""Two trunks under the same protocols: values, and paired differences over the same draws of patients.

Where a protocol was run on several folds, a folder each, a number is the mean over folds, and so are its draws: each
fold draws its own patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossray.errors import ConfigError
from crossray.evaluation.intervals import percentile_interval
from crossray.evaluation.localized.table import LocalizedRow, read_localized, read_samples
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.row_files import finite
from crossray.evaluation.segmentation.scores import ALL_EMPTY, MODEL
from crossray.evaluation.tables import with_interval
from crossray.settings import Settings


class PairRow(Settings):
    """One number of two trunks.

    ``values``, ``lows`` and ``highs`` are of the first trunk, of the second, and of first minus second. ``baseline`` is
    the all-empty predictor's value where there is one; ``n`` and ``positives`` are test films over all folds.
    """

    protocol: str
    metric: str
    target: str
    headline: bool
    models: tuple[str, str]
    folds: int
    runs: int
    n: int
    positives: int | None
    train: str
    values: tuple[float | None, float | None, float | None]
    lows: tuple[float | None, float | None, float | None]
    highs: tuple[float | None, float | None, float | None]
    baseline: float | None = None


@dataclass(frozen=True)
class _Number:
    """A number of one trunk over its folds: rows ``[F]`` and the mean of their samples ``[1 + draws]``."""

    rows: tuple[LocalizedRow, ...]
    sample: FloatArray


_Key = tuple[str, str, str, str]


def compare_trunks(first: Sequence[Path], second: Sequence[Path], level: float = 0.95) -> list[PairRow]:
    """Compare folders of results of two trunks; several folders of one trunk are its folds.

    Raises:
        DataError: a folder holds no results or no draws.
        ConfigError: a number is there for one trunk only, or was measured otherwise (films, protocol, seeds).
    """
    ours, theirs = _numbers(first), _numbers(second)
    missing = sorted(ours.keys() ^ theirs.keys())
    if missing:
        raise ConfigError(f"{' / '.join(missing[0])} was measured for one of the two trunks only.")
    rows = []
    for key, one in ours.items():
        if key[3] == MODEL:
            empty = ours.get((*key[:3], ALL_EMPTY))
            rows.append(_row(one, theirs[key], empty, level))
    return rows


def pairs_markdown(rows: Sequence[PairRow]) -> str:
    """A table of the protocols' own metrics and one of everything else."""
    first, second = rows[0].models
    head = f"| protocol | metric | of | test films (n⁺) | trained on | all-empty | {first} | {second} | difference |"
    line = "| --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: |"
    parts = []
    for title, chosen in (("The protocols' own metrics", True), ("The others", False)):
        own = [row for row in rows if row.headline is chosen]
        parts += [f"## {title}\n", head, line, *(_line(row) for row in own), ""]
    return "\n".join(parts)


def _numbers(folders: Sequence[Path]) -> dict[_Key, _Number]:
    found: dict[_Key, list[tuple[LocalizedRow, FloatArray]]] = {}
    for folder in folders:
        for row, sample in zip(read_localized(folder).rows, read_samples(folder), strict=True):
            found.setdefault((row.protocol, row.metric, row.target, row.predictor), []).append((row, sample))
    return {
        key: _Number(tuple(row for row, _ in own), np.mean([sample for _, sample in own], axis=0))
        for key, own in found.items()
    }


def _row(one: _Number, other: _Number, empty: _Number | None, level: float) -> PairRow:
    _check_alike(one, other)
    row = one.rows[0]
    samples = (one.sample, other.sample, one.sample - other.sample)
    intervals = [percentile_interval(float(sample[0]), sample[1:], level) for sample in samples]
    train = sorted({own.train for own in one.rows})
    positives = [own.positives for own in one.rows if own.positives is not None]
    return PairRow(
        protocol=row.protocol,
        metric=row.metric,
        target=row.target,
        headline=row.headline,
        models=(row.model, other.rows[0].model),
        folds=len(one.rows),
        runs=row.runs,
        n=sum(own.n for own in one.rows),
        positives=sum(positives) if len(positives) == len(one.rows) else None,
        train=str(train[0]) if len(train) == 1 else f"{train[0]} to {train[-1]}",
        values=_three([interval.estimate for interval in intervals]),
        lows=_three([interval.low for interval in intervals]),
        highs=_three([interval.high for interval in intervals]),
        baseline=None if empty is None else finite(float(empty.sample[0])),
    )


def _three(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    first, second, third = map(finite, values)
    return first, second, third


def _check_alike(one: _Number, other: _Number) -> None:
    def of(number: _Number) -> list[Mapping[str, object]]:
        names = ("protocol", "preset", "changed", "seeds", "n", "train", "store_hash", "split_hash")
        return [{name: getattr(row, name) for name in names} for row in number.rows]

    for mine, yours in zip(of(one), of(other), strict=True):
        different = [name for name in mine if mine[name] != yours[name]]
        if different:
            what = ", ".join(f"{name} ({mine[name]} and {yours[name]})" for name in different)
            raise ConfigError(f"{one.rows[0].protocol} was run differently for the two trunks: {what}.")


def _line(row: PairRow) -> str:
    counts = f"{row.n}" if row.positives is None else f"{row.n} ({row.positives})"
    folds = f", {row.folds} folds" if row.folds > 1 else ""
    triples = zip(row.values, row.lows, row.highs, strict=True)
    numbers = [with_interval(*triple, signed=place == 2) for place, triple in enumerate(triples)]
    clear = row.lows[2] is not None and row.highs[2] is not None and row.lows[2] * row.highs[2] > 0
    empty = "–" if row.baseline is None else f"{row.baseline:.3f}"
    cells = [row.protocol, row.metric, row.target, counts + folds, row.train, empty, *numbers]
    return "| " + " | ".join(cells) + ("* |" if clear else " |")
