"""Cells of a publisher's table as numbers and boxes; rows by study; and a row that is none as a rejection."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from crossray.data.sources.base import Rejected
from crossray.data.sources.tables import Row
from crossray.data.study import Box
from crossray.errors import StudyError


class BadRowError(StudyError):
    """A row of a table that makes no sense. Its study is left out whole: a box less would be a false negative."""

    rule = "bad_row"


class MissingFilmError(StudyError):
    """A film that a table names is not there."""

    rule = "missing_file"


def rows_by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """Rows by the text in a column, in order of first appearance; they need not stand together."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def check_row(row: Row, id_column: str, table: Path) -> None:
    """Refuse a row with too many or too few cells, or without its id.

    Raises:
        BadRowError: naming table and row.
    """
    if row.malformed:
        raise BadRowError(row.malformed, file=table, row=row.number)
    if not row[id_column]:
        raise BadRowError(f"{id_column} is empty.", file=table, row=row.number)


def number_of(row: Row, column: str, table: Path) -> float:
    """The finite number in a cell.

    Raises:
        BadRowError: there is none.
    """
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadRowError(f"{column} '{row[column]}' is not a number.", file=table, row=row.number)
    return value


def box_by_size(label: str, row: Row, columns: Sequence[str], table: Path) -> Box:
    """A box from the cells of its left edge, top, width and height.

    Raises:
        BadRowError: a cell is no number, or the box has no area.
    """
    x, y, width, height = (number_of(row, column, table) for column in columns)
    return _with_area(Box(label, x, y, x + width, y + height), row, table)


def box_by_corners(label: str, row: Row, columns: Sequence[str], table: Path) -> Box:
    """A box from the cells of its left edge, top, right edge and bottom.

    Raises:
        BadRowError: a cell is no number, or the box has no area.
    """
    return _with_area(Box(label, *(number_of(row, column, table) for column in columns)), row, table)


def rejected(study_id: str, error: StudyError) -> Rejected:
    """The rejection of a study that an error tells of."""
    reason = " ".join(part for part in (error.problem, error.remedy) if part)
    return Rejected(study_id, error.rule, reason, error.file, error.row)


def film_in(films: dict[str, Path], name: str, folder: Path) -> Path:
    """The file of a film by its name.

    Args:
        films: name -> file, of the files that are there.
        name: the name wanted.
        folder: where they lie, for the error.

    Raises:
        MissingFilmError: it is not there.
    """
    if name not in films:
        raise MissingFilmError(f"no file of '{name}' lies in {folder.name}/.", file=folder)
    return films[name]


def _with_area(box: Box, row: Row, table: Path) -> Box:
    if box.x_min >= box.x_max or box.y_min >= box.y_max:
        edges = (box.x_min, box.y_min, box.x_max, box.y_max)
        raise BadRowError(f"the box {edges} has no area.", file=table, row=row.number)
    return box
