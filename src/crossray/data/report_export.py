"""A hospital's reports: a table with one row a report, or a folder of text files named by key; addenda joined."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

from crossray.data.markup import markup_of, plain_text
from crossray.data.reports import decode_report
from crossray.data.sources.folder import LABEL_PREFIX, SECTION_COLUMNS
from crossray.data.sources.tables import Row, Table, read_table
from crossray.errors import CrossRayError, DataError

#: Columns that make a report: at least one of them must hold text.
_TEXT_COLUMNS = ("report", "findings", "impression")

_ADDENDUM = re.compile(r"(?P<base>.+?)[._\- ]+(?:add(?:end(?:um|a))?[._\- ]*)?(?P<number>\d{0,3})", re.IGNORECASE)
_UID_LIKE = re.compile(r"[\d.]+")


@dataclass(frozen=True, slots=True)
class ReportPart:
    """One row of the table, or one text file: ``key`` links it with films, ``cells`` are manifest columns.

    ``markup`` is what the texts were written in before it was taken off: ``RTF``, ``HTML``, or nothing.
    """

    key: str
    cells: Mapping[str, str]
    file: str
    row: int | None = None
    markup: str = ""


@dataclass(frozen=True, slots=True)
class ReportProblem:
    """A row or file of the reports that is left out (or, as ``remark``, used), with the rule and the reason."""

    rule: str
    reason: str
    file: str
    row: int | None = None
    key: str = ""


@dataclass(frozen=True)
class ReportExport:
    """All parts in their order, what was left out, and the optional manifest columns that the parts have.

    Parts out of a folder have their file's name as ``key`` until :func:`with_film_keys` tells addenda apart.
    """

    parts: tuple[ReportPart, ...]
    problems: tuple[ReportProblem, ...]
    columns: tuple[str, ...] = ()
    named_by_key: bool = False


def read_report_export(path: Path, key: str, report_column: str) -> ReportExport:
    """The reports of an export.

    Args:
        path: a CSV or Parquet table, or a folder of ``.txt`` files.
        key: keyword of the linking attribute; a table's column may write it ``accession_number`` and the like.
        report_column: column of the table that holds the report; may be absent if there is findings or impression.

    Raises:
        DataError: the path is missing, is no table, or lacks a column; with those present and the nearest.
    """
    return _from_folder(path) if path.is_dir() else _from_table(read_table(path), key, report_column)


def with_film_keys(export: ReportExport, film_keys: Collection[str]) -> ReportExport:
    """The parts of a folder under the keys that their names give, each report before its addenda.

    ``A_1.txt`` or ``A-addendum.txt`` is an addendum to ``A`` if a film or another file is named ``A``, unless a film
    has the whole name as its key.
    """
    if not export.named_by_key:
        return export
    bases = {*film_keys, *(part.key for part in export.parts)}
    placed = []
    for part in export.parts:
        key, number = _key_of(part.key, film_keys, bases)
        placed.append((key, number, part.file, replace(part, key=key)))
    return replace(export, parts=tuple(part for *_, part in sorted(placed, key=itemgetter(0, 1, 2))))


def join_parts(parts: Sequence[ReportPart]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The cells of several parts of one report, and the labels on which the parts disagree (left empty).

    Texts are joined in order with an empty line between; a text that is there already is not repeated.
    """
    joined: dict[str, str] = {}
    disagreed = []
    for column in dict.fromkeys(column for part in parts for column in part.cells):
        values = list(dict.fromkeys(part.cells[column] for part in parts if part.cells.get(column)))
        if column.startswith(LABEL_PREFIX) and len(values) > 1:
            disagreed.append(column)
            values = []
        joined[column] = "\n\n".join(values)
    return joined, tuple(disagreed)


def _from_table(table: Table, key: str, report_column: str) -> ReportExport:
    key_column = _column(table, key)
    renamed = {column: column for column in table.columns if column.startswith(LABEL_PREFIX)}
    renamed |= {column: name for name in SECTION_COLUMNS if (column := _find(table, name)) is not None}
    report = _find(table, report_column)
    if report is not None:
        renamed[report] = "report"
    elif not {"findings", "impression"} & set(renamed.values()):
        _column(table, report_column)
    parts, problems = [], []
    for row in table.rows:
        part = _without_markup(row[key_column], {to: row[at] for at, to in renamed.items()}, table.path, row.number)
        problem = _row_problem(row, part, key_column)
        if problem is None:
            parts.append(part)
        else:
            problems.append(ReportProblem(*problem, str(table.path), row.number, part.key))
    extra = tuple(name for name in renamed.values() if name != "report")
    return ReportExport(tuple(parts), tuple(problems), extra)


def _without_markup(key: str, cells: Mapping[str, str], file: Path, row: int | None = None) -> ReportPart:
    markup = next((found for cell in cells.values() if (found := markup_of(cell))), "")
    plain = {column: plain_text(cell) for column, cell in cells.items()} if markup else cells
    return ReportPart(key, plain, str(file), row, markup)


def _row_problem(row: Row, part: ReportPart, key_column: str) -> tuple[str, str] | None:
    if row.malformed:
        return "malformed_row", row.malformed
    if not part.key:
        return "no_key", f"{key_column} is empty: nothing links the report with a film."
    if not any(part.cells.get(column) for column in _TEXT_COLUMNS):
        return "empty_report", "the report is empty."
    return None


def _column(table: Table, name: str) -> str:
    """The table's column of this name, however it is written.

    Raises:
        DataError: naming the columns that are there, and the nearest.
    """
    found = _find(table, name)
    if found is not None:
        return found
    close = difflib.get_close_matches(_folded(name), [_folded(column) for column in table.columns], n=1, cutoff=0.4)
    nearest = next((column for column in table.columns if close and _folded(column) == close[0]), None)
    raise DataError(
        f"the column '{name}' is missing. The columns are: {', '.join(table.columns) or 'none'}.",
        file=table.path,
        remedy=f"Is it '{nearest}'? Then rename it." if nearest else "Add it, or choose by --key or --report-column.",
    )


def _find(table: Table, name: str) -> str | None:
    return next((column for column in table.columns if _folded(column) == _folded(name)), None)


def _folded(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _from_folder(folder: Path) -> ReportExport:
    parts, problems = [], []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix.lower() != ".txt":
            problems.append(ReportProblem("not_a_text_file", "is not a .txt file.", str(path)))
            continue
        try:
            text = decode_report(path.read_bytes(), path).strip()
        except (CrossRayError, OSError) as error:
            reason = error.problem if isinstance(error, CrossRayError) else f"cannot be read ({error.strerror})."
            problems.append(ReportProblem("unreadable", reason, str(path), key=path.stem))
            continue
        if text:
            parts.append(_without_markup(path.stem, {"report": text}, path))
        else:
            problems.append(ReportProblem("empty_report", "the report is empty.", str(path), key=path.stem))
    if not parts:
        remedy = "Name each report by its key, as in ACC123.txt."
        raise DataError("holds no .txt file with a report.", file=folder, remedy=remedy)
    return ReportExport(tuple(parts), tuple(problems), named_by_key=True)


def _key_of(stem: str, film_keys: Collection[str], bases: Collection[str]) -> tuple[str, int]:
    """The key that a file's name gives, and the place of the file among those of its key: 0 is the report itself."""
    match = None if stem in film_keys or _UID_LIKE.fullmatch(stem) else _ADDENDUM.fullmatch(stem)
    if match is None or match["base"] not in bases:
        return stem, 0
    return match["base"], int(match["number"] or 1)
