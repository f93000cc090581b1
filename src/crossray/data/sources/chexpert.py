"""CheXpert v1.0, original or small, with the reports of CheXpert Plus where they lie beside it.

The publisher's layout: ``train.csv``, ``valid.csv`` and, where the test set was added, ``test.csv`` (or
``test_labels.csv``); films in ``train/patient00001/study1/view1_frontal.jpg``. The tables' paths begin with the name of
the download, which may be anything here. CheXpert itself has no reports: ``df_chexpert_plus_240401.csv`` of CheXpert
Plus in the same folder, or where the option ``reports`` says, brings them; without it studies carry an empty report.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crossray.data.findings import FINDINGS
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.chexpert_marks import MarkOptions
from crossray.data.sources.chexpert_reports import REPORT_TABLE, ReportTable
from crossray.data.sources.chexpert_table import FilmRow, table_films, table_studies
from crossray.data.sources.expected import counted, expected_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import find_part, require_layout
from crossray.data.study import Report, Study
from crossray.errors import DataError

#: Of training, validation and test set together (`downstream_protocols`, section 1); the parts are not stated there.
PUBLISHED = {"images": 224_316, "patients": 65_240}
GET_IT = "It is at https://stanfordaimi.azurewebsites.net after a sign-in, for research, not for commerce."

TEST_TABLES = ("test.csv", "test_labels.csv")


class ChexpertOptions(MarkOptions):
    """Options of the source. ``reports``: the table of CheXpert Plus, if it lies elsewhere."""

    reports: Path | None = None


class ChexpertSource:
    """The set in the folder ``root``: training, validation, then test studies, each in the order of its table.

    The published counts are those of all three parts and are checked where the test table is there.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "chexpert"
    label_names = FINDINGS

    def __init__(self, root: Path, options: ChexpertOptions | None = None) -> None:
        require_layout(root, ("train.csv", "valid.csv", "train/", "valid/"), source=self.name, get_it=GET_IT)
        self.root = root
        self._options = options or ChexpertOptions()
        test = find_part(root, TEST_TABLES)
        self._tables = [root / "train.csv", root / "valid.csv", *([test] if test else [])]
        self._expected = expected_of(self._options.expected_counts, self.name, root, PUBLISHED if test else {})
        self._report_table = self._options.reports or root / REPORT_TABLE
        if self._options.reports is not None and not self._report_table.is_file():
            raise DataError("there is no such table of reports.", file=self._report_table, field="reports")

    @property
    def has_reports(self) -> bool:
        """Whether the table of CheXpert Plus is there."""
        return self._report_table.is_file()

    def fingerprint(self) -> str:
        """Changes with a table, a report or a film."""
        tables = [*self._tables, *([self._report_table] if self.has_reports else [])]
        return fingerprint_of(tables, table_films(self._tables, self.root), self.root, self._options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every study; films that are not there, and rows that are none, are rejected.

        Raises:
            DataError: a table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        return counted(self._studies(), self._expected, self.root)

    def _studies(self) -> Iterator[Study | Rejected]:
        reports = ReportTable.read(self._report_table) if self.has_reports else None

        def report_of(film_row: FilmRow) -> Report:
            return reports.report_of(film_row.study_id) if reports is not None else Report("")

        yield from table_studies(self._tables, self.root, self._options.marks, report_of)
