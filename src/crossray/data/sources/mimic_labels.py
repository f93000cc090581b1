"""MIMIC-CXR-JPG's tables about studies: the marks of a labeller, and the split."""

from __future__ import annotations

import sys
from pathlib import Path

from crossray.data.findings import FINDINGS
from crossray.data.sources.cells import check_row
from crossray.data.sources.chexpert_marks import marks_of
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row


class StudyMarks:
    """The marks of a quarter of a million studies, kept as written and read when they are asked for."""

    def __init__(self, table: Path, rows: dict[str, Row]) -> None:
        self._table = table
        self._rows = rows

    @classmethod
    def read(cls, table: Path) -> StudyMarks:
        """Read ``mimic-cxr-2.0.0-chexpert.csv`` or ``-negbio.csv``.

        Raises:
            DataError: it cannot be read, or lacks a class.
        """
        rows: dict[str, Row] = {}
        for row in publisher_rows(table, ("subject_id", "study_id", *FINDINGS)):
            cells = {sys.intern(name): sys.intern(cell) for name, cell in row.cells.items() if cell}
            rows.setdefault(row["study_id"], Row(row.number, cells, row.malformed))
        return cls(table, rows)

    def of(self, study_id: str) -> dict[str, float | None]:
        """A study's marks; empty for a study that the labeller did not see.

        Raises:
            BadRowError: the row is malformed, or a mark is none.
        """
        row = self._rows.get(study_id)
        if row is None:
            return {}
        check_row(row, "study_id", self._table)
        return marks_of({name: row[name] for name in FINDINGS}, self._table, row.number)


def split_by_study(table: Path) -> dict[str, str]:
    """Study id -> train, validate or test; all films of a study are on one side.

    Raises:
        DataError: the table cannot be read, or lacks a column.
    """
    rows = publisher_rows(table, ("study_id", "split"))
    return {row["study_id"]: sys.intern(row["split"]) for row in rows}
