"""From aligned entries to one table of numbers: mean over seeds, interval, spread between seeds, paired difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossray.errors import ConfigError
from crossray.evaluation.comparison.columns import Column
from crossray.evaluation.comparison.entries import Entry, Evaluated
from crossray.evaluation.intervals import Interval, percentile_interval
from crossray.evaluation.metrics import FloatArray

TO_BASES = "the entry that each varies"

# Floors of two evaluations are one floor if they agree so closely: the same computation on the same films.
_SAME = 1e-6


@dataclass(frozen=True)
class Number:
    """A metric of one line.

    Attributes:
        interval: mean over seeds, and its interval: patients are drawn, the seeds stay as they are.
        by_seed: each seed's own value.
        n: studies, queries or phrases, where rows say it.
        difference: to the reference on the same draws; ``None`` for the reference itself, and where there is no pair.
    """

    interval: Interval
    by_seed: Mapping[int, float]
    n: int | None
    difference: Interval | None = None

    @property
    def spread(self) -> float | None:
        """Standard deviation between seeds (n − 1); ``None`` with fewer than two."""
        values = list(self.by_seed.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True)
class Line:
    """One entry, floor or chance; a metric that it does not have is not in ``numbers``."""

    name: str
    kind: str
    numbers: Mapping[Column, Number]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds behind its numbers; a floor that is the same for all has none."""
        return tuple(sorted({seed for number in self.numbers.values() for seed in number.by_seed}))


@dataclass(frozen=True)
class Comparison:
    """All lines, what they are compared by, and the line that differences are taken to."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    reference: str


def compare_entries(
    entries: Sequence[Entry], columns: Sequence[Column], level: float, reference: str | None = None
) -> Comparison:
    """Entries, then floors, then chance, with differences to ``reference`` (the first entry by default).

    Raises:
        ConfigError: there is no line of that name.
    """
    lines = [_entry_line(entry, columns, level) for entry in entries]
    lines += _floor_lines(entries, columns, level)
    chosen = reference or lines[0].name
    base = next((line for line in lines if line.name == chosen), None)
    if base is None:
        raise ConfigError(
            f"there is no '{chosen}' among what is compared.",
            field="--reference",
            remedy=f"Choose from {', '.join(line.name for line in lines)}.",
        )
    compared = [line if line is base else _with_differences(line, base, level) for line in lines]
    return Comparison(tuple(columns), (*compared, *_chance_line(entries, columns, level)), chosen)


def compare_to_bases(
    entries: Sequence[Entry], columns: Sequence[Column], level: float, bases: Mapping[str, str]
) -> Comparison:
    """As :func:`compare_entries`, but each entry's difference is to the entry that it varies (``bases``)."""
    lines = {entry.name: _entry_line(entry, columns, level) for entry in entries}
    compared = [
        _with_differences(line, lines[bases[name]], level) if bases.get(name) in lines else line
        for name, line in lines.items()
    ]
    others = (*_floor_lines(entries, columns, level), *_chance_line(entries, columns, level))
    return Comparison(tuple(columns), (*compared, *others), TO_BASES)


def _entry_line(entry: Entry, columns: Sequence[Column], level: float) -> Line:
    return Line(entry.name, "model", _numbers(entry, "model", None, columns, level))


def _numbers(
    entry: Entry, kind: str, model: str | None, columns: Sequence[Column], level: float
) -> dict[Column, Number]:
    """What an entry's rows of a kind (and model) hold, as the mean over its seeds."""
    numbers = {}
    for column in columns:
        found = {
            seed: (read, index)
            for seed, read in entry.by_seed.items()
            if (index := read.find(kind, column.task, column.metric, column.target, model)) is not None
        }
        number = _number(found, level)
        if number is not None:
            numbers[column] = number
    return numbers


def _number(found: Mapping[int, tuple[Evaluated, int]], level: float) -> Number | None:
    """The mean over seeds of rows that hold a value and their draws."""
    values = {seed: read.row(index).value for seed, (read, index) in found.items() if index in read.draws}
    known = {seed: value for seed, value in values.items() if value is not None}
    if not known:
        return None
    draws = np.mean([found[seed][0].draws[found[seed][1]].astype(np.float64) for seed in known], axis=0)
    counts = {found[seed][0].row(found[seed][1]).n for seed in known}
    count = counts.pop() if len(counts) == 1 else None
    return Number(percentile_interval(float(np.mean(list(known.values()))), draws, level), known, count)


def _floor_lines(entries: Sequence[Entry], columns: Sequence[Column], level: float) -> list[Line]:
    """Each floor once; where floors of one name differ (other trunk, other pixels), each with the entries it is of."""
    found: dict[str, list[tuple[list[str], dict[Column, Number]]]] = {}
    for entry in entries:
        rows = [row for read in entry.by_seed.values() for row in read.results.select(kind="floor")]
        for model in dict.fromkeys(row.model for row in rows):
            own = {
                column: number if number.spread else Number(number.interval, {}, number.n)
                for column, number in _numbers(entry, "floor", model, columns, level).items()
            }
            groups = found.setdefault(model, [])
            same = next((group for group in groups if _agree(group[1], own)), None)
            if same is None:
                groups.append(([entry.name], own))
            else:
                same[0].append(entry.name)
                same[1].update({column: number for column, number in own.items() if column not in same[1]})
    return [
        Line(model if len(groups) == 1 else f"{model} ({', '.join(names)})", "floor", numbers)
        for model, groups in found.items()
        for names, numbers in groups
        if numbers
    ]


def _chance_line(entries: Sequence[Entry], columns: Sequence[Column], level: float) -> list[Line]:
    numbers: dict[Column, Number] = {}
    for _, read in _everyone(entries):
        for column in columns:
            index = read.find("chance", column.task, column.metric, column.target)
            row = None if index is None else read.row(index)
            if row is not None and row.value is not None and column not in numbers:
                exact = Interval(row.value, np.nan, np.nan, level, 0)
                numbers[column] = Number(exact, {}, row.n)
    return [Line("chance", "chance", numbers)] if numbers else []


def _with_differences(line: Line, base: Line, level: float) -> Line:
    numbers = {}
    for column, number in line.numbers.items():
        other = base.numbers.get(column)
        difference = None if other is None else _difference(number, other, level)
        numbers[column] = Number(number.interval, number.by_seed, number.n, difference)
    return Line(line.name, line.kind, numbers)


def _difference(one: Number, other: Number, level: float) -> Interval | None:
    first, second = one.interval.sample, other.interval.sample
    # Another count means other rows (reports that another text selection leaves out): their draws are no pairs.
    if first is None or second is None or first.shape != second.shape or one.n != other.n:
        return None
    return percentile_interval(one.interval.estimate - other.interval.estimate, _minus(first, second), level)


def _minus(first: FloatArray, second: FloatArray) -> FloatArray:
    difference: FloatArray = first - second
    return difference


def _agree(one: Mapping[Column, Number], other: Mapping[Column, Number]) -> bool:
    shared = one.keys() & other.keys()
    return all(abs(one[column].interval.estimate - other[column].interval.estimate) <= _SAME for column in shared)


def _everyone(entries: Sequence[Entry]) -> Iterator[tuple[str, Evaluated]]:
    return ((entry.name, read) for entry in entries for read in entry.by_seed.values())
