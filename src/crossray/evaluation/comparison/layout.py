"""A comparison laid out as tables of text, which Markdown and LaTeX share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from crossray.evaluation.comparison.columns import Column, Group, groups
from crossray.evaluation.comparison.table import Comparison, Line, Number
from crossray.evaluation.intervals import Interval
from crossray.evaluation.tables import number

NOTHING = "–"


@dataclass(frozen=True)
class Text:
    """A number as printed, and its interval or what else stands beside it (or empty)."""

    main: str
    detail: str = ""


@dataclass(frozen=True)
class Sheet:
    """One table: ``cells[line][column]``; ``kind`` is values, differences or seeds."""

    kind: str
    title: str
    heads: tuple[str, ...]
    names: tuple[str, ...]
    cells: tuple[tuple[Text, ...], ...]


def sheets(comparison: Comparison) -> list[Sheet]:
    """For each group of columns: values, differences to the reference, and the spread between seeds if there is one."""
    found = []
    for group in groups(comparison.columns):
        found.append(_sheet("values", group.title, comparison, group, _value))
        title = f"{group.title}: difference to {comparison.reference}"
        found.append(_sheet("differences", title, comparison, group, _difference))
        found.append(_sheet("seeds", f"{group.title}: between seeds", comparison, group, _spread))
    return [sheet for sheet in found if sheet.names]


def is_clear(difference: Interval) -> bool:
    """Whether the interval of a difference does not hold zero."""
    return difference.low > 0 or difference.high < 0


def _sheet(
    kind: str, title: str, comparison: Comparison, group: Group, text: Callable[[Number, Column], Text | None]
) -> Sheet:
    lines: list[tuple[str, tuple[Text, ...]]] = []
    for line in comparison.lines:
        cells = [_cell(line, column, text) for column in group.columns]
        if any(cell is not None for cell in cells):
            lines.append((line.name, tuple(cell or Text(NOTHING) for cell in cells)))
    return Sheet(kind, title, group.heads, tuple(name for name, _ in lines), tuple(cells for _, cells in lines))


def _cell(line: Line, column: Column, text: Callable[[Number, Column], Text | None]) -> Text | None:
    found = line.numbers.get(column)
    return None if found is None else text(found, column)


def _value(found: Number, column: Column) -> Text:
    return Text(_printed(found.interval.estimate, column), _bounds(found.interval, column, signed=False))


def _difference(found: Number, column: Column) -> Text | None:
    interval = found.difference
    if interval is None:
        return None
    mark = "*" if is_clear(interval) else ""
    return Text(_printed(interval.estimate, column, signed=True) + mark, _bounds(interval, column, signed=True))


def _spread(found: Number, column: Column) -> Text | None:
    if found.spread is None:
        return None
    each = ", ".join(_printed(value, column) for value in found.by_seed.values())
    return Text(f"SD {_printed(found.spread, column)}", each)


def _bounds(interval: Interval, column: Column, *, signed: bool) -> str:
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ""
    return ", ".join(_printed(bound, column, signed=signed) for bound in (interval.low, interval.high))


def _printed(value: float, column: Column, *, signed: bool = False) -> str:
    return number(value if math.isfinite(value) else None, column.metric, signed=signed)
