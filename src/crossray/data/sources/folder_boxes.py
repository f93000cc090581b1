"""Boxes beside a manifest: ``film, label, x_min, y_min, x_max, y_max`` in pixels of the original film."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from crossray.data.sources.base import Remark
from crossray.data.sources.tables import Row, read_table
from crossray.data.study import Box
from crossray.errors import StudyError

COLUMNS = ("film", "label", "x_min", "y_min", "x_max", "y_max")


class BoxError(StudyError):
    """A box that is none."""

    rule = "bad_box"


class BoxTable:
    """Boxes by film. Whether a box lies on its film is checked when the film's size is known."""

    def __init__(self, path: Path, rows: dict[str, list[Row]]) -> None:
        self._path = path
        self._rows = rows
        self._asked: set[str] = set()

    @classmethod
    def read(cls, path: Path, film_column: str = "film") -> BoxTable:
        """Read the table; it may call its films as the manifest does, ``film_column``, or ``film``.

        Raises:
            DataError: it is missing or lacks a column.
        """
        table = read_table(path)
        if film_column in table.columns:
            table = table.with_columns({"film": film_column})
        table.require(COLUMNS)
        rows: dict[str, list[Row]] = {}
        for row in table.rows:
            rows.setdefault(row["film"], []).append(row)
        return cls(path, rows)

    def boxes_of(self, film: str) -> tuple[Box, ...]:
        """The boxes of a film.

        Raises:
            BoxError: an edge is no finite number, or the box has no area; the row is named.
        """
        self._asked.add(film)
        return tuple(self._box(row) for row in self._rows.get(film, ()))

    def of_unknown_films(self) -> Iterator[Remark]:
        """A remark for each film that has boxes but stands in no study."""
        for film in sorted(self._rows.keys() - self._asked):
            row = self._rows[film][0]
            reason = f"{self._path.name}, row {row.number}: no study of the manifest has the film '{film}'."
            yield Remark("", "box_of_unknown_film", reason, film)

    def _box(self, row: Row) -> Box:
        place = f"{self._path.name}, row {row.number}"
        edges = []
        for column in COLUMNS[2:]:
            try:
                edges.append(float(row[column]))
            except ValueError:
                raise BoxError(f"{place}: {column} '{row[column]}' is not a number.") from None
        x_min, y_min, x_max, y_max = edges
        if not all(math.isfinite(edge) for edge in edges):
            raise BoxError(f"{place}: an edge is NaN or infinite.")
        if x_min >= x_max or y_min >= y_max:
            raise BoxError(f"{place}: the box {x_min, y_min, x_max, y_max} has no area.")
        if not row["label"]:
            raise BoxError(f"{place}: the label is empty.")
        return Box(row["label"], x_min, y_min, x_max, y_max)
