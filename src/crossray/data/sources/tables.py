"""Tables as people send them: CSV in whatever encoding and delimiter, or Parquet, read as rows of text."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossray.data.text_encoding import CONTROL, decode_text
from crossray.errors import CrossRayError, DataError

_DELIMITERS = ",;\t"
# Reports of ten thousand words in one cell are long, but no reason to stop: csv's own limit is 131072 characters.
LONGEST_CELL = 10_000_000
#: Share of control characters above which a file is no text: below it, the rows that hold one are malformed.
_MOST_CONTROL = 0.01


@dataclass(frozen=True)
class Row:
    """One row of a table: its number (1-based, header not counted) and its cells as text, stripped, "" if empty."""

    number: int
    cells: dict[str, str]
    malformed: str | None = None

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


@dataclass(frozen=True)
class Table:
    """A whole table."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def require(self, columns: Sequence[str]) -> None:
        """Refuse a table without these columns.

        Raises:
            DataError: naming the first missing column and the nearest one that is there.
        """
        for column in columns:
            if column not in self.columns:
                close = difflib.get_close_matches(column, self.columns, n=1, cutoff=0.5)
                near = f"Did you mean '{close[0]}' to be it? Rename it to '{column}'." if close else None
                known = f"The columns are: {', '.join(self.columns) or 'none'}."
                raise DataError(f"the column '{column}' is missing. {known}", file=self.path, remedy=near)

    def with_columns(self, columns: Mapping[str, str]) -> Table:
        """The table with further columns: each new name, and which column of the file it is.

        Raises:
            DataError: the file has no such column; the nearest one is named.
        """
        self.require(tuple(columns.values()))
        rows = tuple(
            replace(row, cells=row.cells | {name: row[column] for name, column in columns.items()}) for row in self.rows
        )
        return replace(self, columns=tuple(dict.fromkeys((*self.columns, *columns))), rows=rows)


def read_table(path: Path, required: Sequence[str] = ()) -> Table:
    """A CSV (UTF-8 with or without BOM, UTF-16, Windows-1252; comma, semicolon or tab) or a Parquet file.

    Rows with a cell too many or too few, or with a control character, are ``malformed``, not refused.

    Raises:
        DataError: the file is missing, is no table, has a column twice, or lacks a required one.
    """
    try:
        table = _read_parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else _read_csv(path)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error}).", file=path) from error
    duplicates = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if duplicates:
        raise DataError(f"the column '{duplicates[0]}' stands there twice.", file=path, remedy="Rename one of them.")
    table.require(required)
    return table


def _read_csv(path: Path) -> Table:
    try:
        text = decode_text(path.read_bytes(), path)
    except CrossRayError as error:
        raise DataError(error.problem, file=error.file, remedy=error.remedy) from error
    text = text.lstrip("\r\n")
    if len(CONTROL.findall(text)) > _MOST_CONTROL * len(text):
        raise DataError("is not text.", file=path, remedy="Save the table as CSV in UTF-8, or as Parquet.")
    lines = _lines(text, path)
    if not any(cell.strip() for line in lines for cell in line):
        raise DataError("is empty.", file=path)
    columns = tuple(name.strip() for name in lines[0])
    # Blank lines are no rows, but they count: the number is the one that a spreadsheet shows, less the header.
    numbered = [(number, line) for number, line in enumerate(lines[1:], start=1) if any(cell.strip() for cell in line)]
    return Table(path, columns, tuple(_row(number, columns, line) for number, line in numbered))


def _lines(text: str, path: Path) -> list[list[str]]:
    header, _, _ = text.partition("\n")
    delimiter = max(_DELIMITERS, key=header.count)
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[list[str]] = []
    begins = 1
    try:
        for line in reader:
            lines.append(line)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"is not a CSV table: {error}.",
            file=path,
            row=len(lines) or None,
            remedy=f"Is a quotation mark left open, or not doubled? The row begins in line {begins}.",
        ) from error
    return lines


def _row(number: int, columns: tuple[str, ...], cells: list[str]) -> Row:
    values = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    malformed = None
    if len(cells) != len(columns):
        malformed = f"has {len(cells)} cells, the header has {len(columns)}: is a text with the delimiter not quoted?"
    return Row(number, values, malformed or _control_character(values))


def _control_character(cells: Mapping[str, str]) -> str | None:
    found = ((name, CONTROL.search(cell)) for name, cell in cells.items())
    where = next(((name, match[0]) for name, match in found if match), None)
    return f"the column '{where[0]}' holds the control character 0x{ord(where[1]):02x}." if where else None


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"is not a Parquet table: {error}.", file=path) from error
    texts = ({name: _as_text(value) for name, value in values.items()} for values in table.to_pylist())
    rows = tuple(Row(number, cells, _control_character(cells)) for number, cells in enumerate(texts, start=1))
    return Table(path, tuple(table.column_names), rows)


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas turns integer columns with gaps into floats
    return str(value).strip()
