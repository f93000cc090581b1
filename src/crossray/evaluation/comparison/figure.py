"""The figure of a comparison: one panel a metric, one row a line, a dot with its interval, seeds as small marks."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossray.errors import CrossRayError
from crossray.evaluation.comparison.columns import Column, groups
from crossray.evaluation.comparison.facts import Facts
from crossray.evaluation.comparison.table import Comparison, Line
from crossray.evaluation.figure_style import BLUE, GREY, STYLE, VERMILION
from crossray.evaluation.tables import is_share
from crossray.files import explained_disk_errors, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 7.2  # inches: the text width of a page
_NAME = 64  # letters of a line's name that are shown
_ROOM, _LETTER = 22, 0.055  # letters that the width has room for, and inches for each further one
_DPI = 150

_PANELS = 4  # side by side

# Shape says the same again as colour.
_INK, _GREY, _REFERENCE = BLUE, GREY, VERMILION

_KEY = (
    "diamond: reference; open squares: floors; bars: intervals; small strokes below: single seeds; broken line: chance"
)

_STYLE = {**STYLE, "axes.grid.axis": "x"}


def write_figure(comparison: Comparison, facts: Facts, folder: Path) -> None:
    """Write ``figure.png`` and ``figure.svg`` into ``folder``."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    style: Any = _STYLE  # matplotlib types the keys one by one
    with rc_context(style):
        figure = _draw(comparison, facts)
        FigureCanvasAgg(figure)
        with explained_disk_errors(CrossRayError, folder):
            folder.mkdir(parents=True, exist_ok=True)
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                buffer = io.BytesIO()
                figure.savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
                drawn = buffer.getvalue()
                write_whole(folder / f"figure.{kind}", _with_few_colours(drawn) if kind == "png" else drawn)


def _with_few_colours(png: bytes) -> bytes:
    """The same picture with a palette: a third of the bytes, for a figure of lines and letters."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(64).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _draw(comparison: Comparison, facts: Facts) -> Figure:
    """A row of panels for each group of columns, the circumstances in small print below."""
    from matplotlib.figure import Figure

    chance = next((line for line in comparison.lines if line.kind == "chance"), None)
    notes = [wrapped for note in (*facts.lines(), _KEY) for wrapped in textwrap.wrap(note, 150)]
    rows = _rows(comparison)
    heights = [0.85 + 0.16 * len(row.lines) for row in rows]
    foot = 0.2 + 0.105 * len(notes)
    longest = max(min(len(line.name), _NAME) for row in rows for line in row.lines)
    width = _WIDTH + _LETTER * max(0, longest - _ROOM)
    figure = Figure(figsize=(width, sum(heights) + foot), layout="constrained")
    *places, below = figure.subfigures(len(rows) + 1, 1, height_ratios=[*heights, foot], squeeze=False).ravel()
    for place, row in zip(places, rows, strict=True):
        place.suptitle(row.title, x=0.01, ha="left", fontweight="bold")
        # As many places in every row, so that all panels are equally wide.
        panels = place.subplots(1, max(len(row.columns) for row in rows), squeeze=False, sharey=True)[0]
        for axis in panels[len(row.columns) :]:
            axis.set_visible(False)
        for axis, column, head in zip(panels, row.columns, row.heads, strict=False):
            axis.set_title("\n".join(textwrap.wrap(head, 22)))
            _panel(axis, column, row.lines, chance, comparison.reference)
    below.text(0.01, 0.98, "\n".join(notes), fontsize=5.5, color=_GREY, va="top", linespacing=1.3)
    return figure


@dataclass(frozen=True)
class _Row:
    """Panels side by side, and the lines that have a number in any of them."""

    title: str
    columns: tuple[Column, ...]
    heads: tuple[str, ...]
    lines: tuple[Line, ...]


def _rows(comparison: Comparison) -> list[_Row]:
    rows = []
    for group in groups(comparison.columns):
        for start in range(0, len(group.columns), _PANELS):
            columns = group.columns[start : start + _PANELS]
            heads = group.heads[start : start + _PANELS]
            lines = tuple(
                line
                for line in comparison.lines
                if line.kind != "chance" and not line.numbers.keys().isdisjoint(columns)
            )
            rows.append(_Row(group.title, columns, heads, lines))
    return rows


def _panel(axis: Axes, column: Column, lines: Sequence[Line], chance: Line | None, reference: str) -> None:
    scale = 100.0 if is_share(column.metric) else 1.0
    for place, line in enumerate(lines):
        found = line.numbers.get(column)
        if found is None:
            continue
        own = [value * scale for value in found.by_seed.values()]
        if len(own) > 1:
            axis.plot(own, [place + 0.28] * len(own), "|", color=_GREY, markersize=4, markeredgewidth=0.8)
        interval, colour = found.interval, _colour(line, reference)
        if np.isfinite([interval.low, interval.high]).all():
            axis.plot([interval.low * scale, interval.high * scale], [place, place], color=colour, linewidth=1.2)
        face = "white" if line.kind == "floor" else colour
        marker = "D" if line.name == reference else "s" if line.kind == "floor" else "o"
        axis.plot(interval.estimate * scale, place, marker, color=colour, markerfacecolor=face, markersize=4)
    level = None if chance is None else chance.numbers.get(column)
    if level is not None:
        axis.axvline(level.interval.estimate * scale, color=_GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axis.set_yticks(range(len(lines)), [_shown(line.name) for line in lines])
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    if column.lower_is_better:
        axis.set_xlabel("lower is better")


def _shown(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def _colour(line: Line, reference: str) -> str:
    if line.name == reference:
        return _REFERENCE
    return _GREY if line.kind == "floor" else _INK
