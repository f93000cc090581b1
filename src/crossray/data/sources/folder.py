"""Bring your own: a manifest (CSV or Parquet) with one row a film. The format is in ``docs/manifest-format.md``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from pydantic import Field, field_validator

from crossray.data.markup import markup_of, plain_text
from crossray.data.reports import decode_report, parse_report, parse_sections
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.folder_boxes import BoxTable
from crossray.data.sources.folder_films import MASK_PREFIX, FilmReader
from crossray.data.sources.tables import Row, Table, read_table
from crossray.data.study import Film, Report, SectionName, Study
from crossray.errors import DataError, StudyError
from crossray.settings import Settings

#: Version of the manifest format that this reads.
FORMAT_VERSION = 1

REQUIRED_COLUMNS = ("study_id", "patient_id", "film", "view")
SECTION_COLUMNS: tuple[SectionName, ...] = ("indication", "technique", "comparison", "findings", "impression")
#: A manifest has at least one of these.
TEXT_COLUMNS = ("report", "report_file", "findings", "impression")
LABEL_PREFIX = "label:"
COLUMNS = tuple(
    dict.fromkeys((*REQUIRED_COLUMNS, *TEXT_COLUMNS, *SECTION_COLUMNS, "original_height", "original_width"))
)
"""Every column but those of labels and masks."""

_MANIFEST_NAMES = ("manifest.csv", "manifest.parquet")
_LABEL_VALUES = {"": "nan", "nan": "nan", "-1": "nan", "-1.0": "nan"}  # -1 is CheXpert's "uncertain"


class FolderConfig(Settings):
    """Options of the source.

    Attributes:
        boxes: a CSV of boxes; ``boxes.csv`` beside the manifest is taken by itself.
        columns: for a table with names of its own: manifest column → the table's column that holds it. One column may
            be two (each film a study: ``film`` and ``study_id``).
        films: folder that the films' paths are relative to, itself relative to the manifest's.
    """

    boxes: Path | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    films: Path = Path()

    @field_validator("columns")
    @classmethod
    def _are_manifest_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in COLUMNS and not name.startswith((LABEL_PREFIX, MASK_PREFIX)):
                close = difflib.get_close_matches(name, COLUMNS, n=1)
                near = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(COLUMNS)}."
                raise ValueError(f"the manifest has no column '{name}': {near}")
        return columns


class FolderSource:
    """The studies of a manifest file, or of ``manifest.csv``/``manifest.parquet`` in a folder.

    Paths in the manifest are relative to its folder.

    Raises:
        DataError: there is no manifest, or a column is missing (the nearest one is named).
    """

    name = "folder"
    has_reports = True

    def __init__(self, root: Path, config: FolderConfig | None = None) -> None:
        self.manifest = _find_manifest(root)
        self.home = self.manifest.parent
        self._config = config or FolderConfig()
        self.films = self.home / self._config.films
        self._table = self._read_manifest()
        if not set(TEXT_COLUMNS) & set(self._table.columns):
            self._table.require(TEXT_COLUMNS[:1])
        beside = self.home / "boxes.csv"
        self._boxes_path = self._config.boxes or (beside if beside.is_file() else None)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes of the ``label:<Class>`` columns, in their order."""
        return tuple(name.removeprefix(LABEL_PREFIX) for name in self._table.columns if name.startswith(LABEL_PREFIX))

    def fingerprint(self) -> str:
        """Changes with the manifest, the boxes, a report file or a film."""
        tables = [self.manifest, *([self._boxes_path] if self._boxes_path else [])]
        homes = {"film": self.films, **dict.fromkeys(("report_file", *self._masks), self.home)}
        named = {home / row[column] for row in self._table.rows for column, home in homes.items() if row[column]}
        # An ordinary manifest keeps the fingerprint that it always had.
        options = FolderConfig(columns=self._config.columns) if self._config.columns else None
        return fingerprint_of(tables, named, self.home, options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every study, in the order of first appearance; rows of one study need not stand together."""
        film_column = self._config.columns.get("film", "film")
        boxes = BoxTable.read(self._boxes_path, film_column) if self._boxes_path else None
        reader = FilmReader(self._table, self.home, self.films, boxes)
        for study_id, rows in _by_study(self._table).items():
            if not study_id:
                for row in rows:
                    yield self._refused("", "missing_study_id", "the study id is empty.", row)
                continue
            yield from self._study(study_id, rows, reader)
        if boxes is not None:
            yield from boxes.of_unknown_films()

    def _read_manifest(self) -> Table:
        table = read_table(self.manifest)
        try:
            table = table.with_columns(self._config.columns)
            table.require(REQUIRED_COLUMNS)
        except DataError as error:
            wanted = (*REQUIRED_COLUMNS, *([] if set(TEXT_COLUMNS) & set(table.columns) else TEXT_COLUMNS[:1]))
            names = " ".join(f"--set columns.{name}=NAME" for name in wanted if name not in table.columns)
            renaming = f"The table may keep its names, if you say which column holds what: {names}."
            remedy = " ".join(part for part in (error.remedy, renaming) if part)
            raise DataError(error.problem, file=error.file, remedy=remedy) from error
        return table

    @cached_property
    def _masks(self) -> list[str]:
        return [name for name in self._table.columns if name.startswith(MASK_PREFIX)]

    def _study(self, study_id: str, rows: list[Row], reader: FilmReader) -> Iterator[Study | Rejected | Remark]:
        for row in rows:
            if row.malformed:
                yield self._refused(study_id, "malformed_row", row.malformed, row)
                return
        conflict = self._conflict(study_id, rows)
        if conflict is not None:
            yield conflict
            return
        try:
            (report, marked_up), labels = self._report(rows), self._labels(rows)
        except StudyError as error:
            yield Rejected(study_id, error.rule, _reason(error), error.file, error.row)
            return
        if marked_up:
            yield Remark(study_id, "markup_removed", "RTF or HTML in its report was turned into plain text.")
        films: list[Film] = []
        for row in rows:
            try:
                films.append(reader.film(row))
            except StudyError as error:
                yield Rejected(study_id, error.rule, _reason(error), str(self.manifest), row.number, row["film"])
        yield Study(study_id, rows[0]["patient_id"] or None, tuple(films), report, labels)

    def _conflict(self, study_id: str, rows: list[Row]) -> Rejected | None:
        """Rows of one study that tell of different patients, reports or labels: the study id was used twice."""
        columns = {"patient_id": "two_patients", **dict.fromkeys((*TEXT_COLUMNS, *SECTION_COLUMNS), "two_reports")}
        columns |= {name: "two_labels" for name in self._table.columns if name.startswith(LABEL_PREFIX)}
        for column, rule in columns.items():
            # An empty cell says nothing, except of the patient: half known is not known.
            told = [row for row in rows if row[column] or rule == "two_patients"]
            other = next((row for row in told if row[column] != told[0][column]), None)
            if other is not None:
                reason = f"{column} differs between rows {told[0].number} and {other.number} of this study id."
                return self._refused(study_id, rule, reason, other)
        return None

    def _report(self, rows: list[Row]) -> tuple[Report, bool]:
        """``report``, else ``report_file``, else the section columns; a cell may be filled on one row only.

        Also whether it was RTF or HTML.
        """
        text = _first(rows, "report")
        if not text and (name := _first(rows, "report_file")):
            text = _read_report(self.home / name)
        if text:
            return parse_report(plain_text(text)), bool(markup_of(text))
        parts = {name: _first(rows, name) for name in SECTION_COLUMNS}
        plain = {name: plain_text(part) for name, part in parts.items()}
        return parse_sections(plain), plain != parts

    def _labels(self, rows: list[Row]) -> dict[str, float]:
        labels = {}
        for name in self.label_names:
            written = _first(rows, LABEL_PREFIX + name)
            value = _LABEL_VALUES.get(written.lower(), written)
            if value not in {"nan", "0", "1", "0.0", "1.0"}:
                raise LabelError(
                    f"label '{name}' is '{written}', not 1, 0, -1 (uncertain) or empty.", row=rows[0].number
                )
            labels[name] = float(value)
        return labels

    def _refused(self, study_id: str, rule: str, reason: str, row: Row) -> Rejected:
        return Rejected(study_id, rule, reason, str(self.manifest), row.number)


class LabelError(StudyError):
    """A label that is no label."""

    rule = "bad_label"


class ReportFileError(StudyError):
    """A report file that cannot be read as text."""

    rule = "unreadable_report"


def _find_manifest(root: Path) -> Path:
    if root.is_file():
        return root
    for name in _MANIFEST_NAMES:
        if (root / name).is_file():
            return root / name
    tables = sorted(path.name for path in root.glob("*") if path.suffix.lower() in (".csv", ".parquet", ".tsv"))
    there = f"There is {', '.join(tables)}: if one of them has a row for each film, give its path. " if tables else ""
    raise DataError(
        f"there is no manifest: neither a file nor a folder with {' or '.join(_MANIFEST_NAMES)}.",
        file=root,
        remedy=f"{there}'crossray data template DIR' writes an example; 'crossray data manifest' makes one from DICOM "
        "files.",
    )


def _by_study(table: Table) -> dict[str, list[Row]]:
    studies: dict[str, list[Row]] = {}
    for row in table.rows:
        studies.setdefault(row["study_id"], []).append(row)
    return studies


def _first(rows: list[Row], column: str) -> str:
    return next((row[column] for row in rows if row[column]), "")


def _read_report(path: Path) -> str:
    try:
        return decode_report(path.read_bytes(), path)
    except OSError as error:
        raise ReportFileError(f"cannot be read ({error.strerror}).", file=path) from error
    except StudyError as error:
        raise ReportFileError(error.problem, file=path, remedy=error.remedy) from error


def _reason(error: StudyError) -> str:
    return " ".join(part for part in (error.problem, error.remedy) if part)
