"""Films of the IU collection: their names in all spellings, projections, true shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crossray.data.images import FilmPixels
from crossray.data.sources.tables import Row, Table
from crossray.data.study import Film, View
from crossray.errors import DataError

# The publisher writes CXR10_IM-0002-1001, but CXR1_1_IM-0001-3001; the tables 10_IM-0002-1001 and 1_IM-0001-3001.
_PREFIX = re.compile(r"^CXR(\d+)_(?:\1_)?")
_SUFFIX = re.compile(r"(?:\.dcm)?\.(?:png|jpe?g|dcm)$", re.IGNORECASE)
_IMAGE = re.compile(r"\.(?:png|jpe?g|dcm)$", re.IGNORECASE)
_VIEWS: Mapping[str, View] = {"frontal": "frontal", "lateral": "lateral", "": "unknown", "unknown": "unknown"}


@dataclass(frozen=True)
class FilmFacts:
    """What a table says of a film."""

    view: View
    original_height: int | None = None
    original_width: int | None = None


def film_name(written: str) -> str:
    """One name for a film however it is written: ``CXR1_1_IM-0001-3001.png`` is ``1_IM-0001-3001``."""
    return _PREFIX.sub(r"\1_", _SUFFIX.sub("", written))


def films_in(folders: list[Path]) -> dict[str, Path]:
    """Film name -> file, for the image files lying in some folders."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if _IMAGE.search(path.name):
                found.setdefault(film_name(path.name), path)
    return found


def facts_of(row: Row, table: Table) -> FilmFacts:
    """View and shape from a row with ``projection`` and, where present, ``orig_height`` and ``orig_width``.

    Raises:
        DataError: the projection or a size is none.
    """
    written = row["projection"].lower()
    if written not in _VIEWS:
        raise DataError(
            f"projection '{row['projection']}' is not frontal or lateral.",
            file=table.path,
            row=row.number,
            field="projection",
        )
    height, width = (_size(row, column, table) for column in ("orig_height", "orig_width"))
    if height is None or width is None:
        height = width = None
    return FilmFacts(_VIEWS[written], height, width)


def make_film(name: str, path: Path, facts: FilmFacts) -> Film:
    """The film record."""
    return Film(name, facts.view, FilmPixels(path), facts.original_height, facts.original_width)


def _size(row: Row, column: str, table: Table) -> int | None:
    written = row[column]
    if not written:
        return None
    if not written.isdigit() or int(written) < 1:
        raise DataError(f"'{written}' is not a size in pixels.", file=table.path, row=row.number, field=column)
    return int(written)
