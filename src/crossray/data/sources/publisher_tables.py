"""Tables as publishers ship them: UTF-8 CSV, gzipped or not, read row by row (some have half a million rows).

For tables that people send see :mod:`crossray.data.sources.tables`, which guesses encoding and delimiter.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from crossray.data.sources.tables import LONGEST_CELL, Row, Table
from crossray.errors import DataError


def publisher_rows(path: Path, required: Sequence[str]) -> Iterator[Row]:
    """The rows of a CSV table; empty columns and cells at the right end (``a,b,,,``) are dropped.

    Args:
        path: the table; gzip is recognised by its content.
        required: columns that must be there.

    Raises:
        DataError: the file is missing, is no table, has a column twice, or lacks a required one.
    """
    csv.field_size_limit(LONGEST_CELL)
    try:
        with _opened(path) as text:
            yield from _rows(path, required, csv.reader(text, strict=True))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read ({getattr(error, 'strerror', None) or error}).", file=path) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"is not a CSV table in UTF-8: {error}.", file=path, remedy="Download it again.") from error


def _rows(path: Path, required: Sequence[str], lines: Iterator[list[str]]) -> Iterator[Row]:
    header = next(lines, [])
    # Trailing commas of the publisher (NIH) make nameless columns.
    columns = tuple(_without_empty_end([name.strip() for name in header]))
    if not columns:
        raise DataError("is empty.", file=path, remedy="Download it again.")
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"the column '{twice}' stands there twice.", file=path)
    Table(path, columns, ()).require(required)
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line]
        if not any(cells):
            continue
        malformed = None
        if len(_without_empty_end(cells)) > len(columns) or len(cells) < len(columns):
            malformed = f"has {len(cells)} cells, the header has {len(columns)}."
        yield Row(number, dict(zip(columns, cells, strict=False)), malformed)


@contextmanager
def _opened(path: Path) -> Iterator[io.TextIOWrapper]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            with gzip.open(file, "rt", encoding="utf-8-sig", newline="") as text:
                yield text
        else:
            with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
                yield text


def _without_empty_end(cells: list[str]) -> list[str]:
    length = len(cells)
    while length and not cells[length - 1]:
        length -= 1
    return cells[:length]
