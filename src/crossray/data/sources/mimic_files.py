"""Where MIMIC-CXR and MIMIC-CXR-JPG keep films, reports and tables; names of 2.0.0, which later versions keep."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crossray.data.sources.base import Rejected
from crossray.data.sources.cells import BadRowError, rejected
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.errors import DataError

METADATA = ("mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-metadata.csv")
SPLIT = ("mimic-cxr-2.0.0-split.csv.gz", "mimic-cxr-2.0.0-split.csv")
#: MIMIC-CXR's own list of its DICOM files.
RECORDS = ("cxr-record-list.csv.gz", "cxr-record-list.csv")
FILMS = "files/"
REPORT_FOLDERS = ("files", "mimic-cxr-reports/files", "mimic-cxr-reports")

#: This many studies are asked for a report before a folder is taken to hold none.
_ASKED = 200


def label_table(labeller: str) -> tuple[str, str]:
    """Names of the table of labels that ``chexpert`` or ``negbio`` gave to the reports."""
    name = f"mimic-cxr-2.0.0-{labeller}.csv"
    return f"{name}.gz", name


@dataclass(frozen=True, slots=True)
class FilmRecord:
    """A film as the tables name it; ``view_position`` is ``None`` where the table has no such column."""

    subject: str
    study: str
    dicom: str
    view_position: str | None
    row: int

    @property
    def study_folder(self) -> str:
        """``p10/p10000032/s50414267``."""
        return f"p{self.subject[:2]}/p{self.subject}/s{self.study}"

    def file(self, root: Path) -> Path:
        """The film's file: the JPEG where it is there, else the DICOM file."""
        jpeg = root / FILMS / self.study_folder / f"{self.dicom}.jpg"
        return jpeg if jpeg.is_file() else jpeg.with_suffix(".dcm")


def film_records(table: Path) -> Iterator[FilmRecord | Rejected]:
    """The films of ``metadata.csv`` or of the record list; a row without its three ids is rejected.

    Raises:
        DataError: the table cannot be read, or lacks a column.
    """
    for row in publisher_rows(table, ("dicom_id", "subject_id", "study_id")):
        ids = (row["subject_id"], row["study_id"], row["dicom_id"])
        problem = row.malformed
        if problem is None and not (ids[0].isdecimal() and ids[1].isdecimal() and ids[2]):
            problem = f"subject_id '{ids[0]}', study_id '{ids[1]}' and dicom_id '{ids[2]}' name no film."
        if problem is not None:
            yield rejected(ids[1], BadRowError(problem, file=table, row=row.number))
            continue
        # Few different texts in half a million rows: one object for each.
        position = sys.intern(row["ViewPosition"]) if "ViewPosition" in row.cells else None
        yield FilmRecord(sys.intern(ids[0]), sys.intern(ids[1]), ids[2], position, row.number)


def report_file(folder: Path, record: FilmRecord) -> Path:
    """Where the report of a film's study is in a folder of reports."""
    return folder / f"{record.study_folder}.txt"


def report_folder(root: Path, records: Iterable[FilmRecord], given: Path | None) -> Path | None:
    """The folder below which the reports are (``p10/p10000032/s50414267.txt``), or nothing if there are none.

    Args:
        root: the set's folder.
        records: films, to look for the reports of the first few.
        given: where the user says they are: this folder, or one that holds ``files/``.

    Raises:
        DataError: the given folder holds none of the reports looked for.
    """
    bases = [root / name for name in REPORT_FOLDERS] if given is None else [given, *(given / n for n in REPORT_FOLDERS)]
    for _, record in zip(range(_ASKED), records, strict=False):
        for base in bases:
            if report_file(base, record).is_file():
                return base
    if given is not None:
        raise DataError(
            "holds no report of these studies.",
            file=given,
            field="reports",
            remedy="Unpack mimic-cxr-reports.zip there: it brings files/p10/p10000032/s50414267.txt and so on.",
        )
    return None
