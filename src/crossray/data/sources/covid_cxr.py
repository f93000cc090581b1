"""The COVID-19 image data collection with notes, lung boxes, masks of lungs and structures, and scores: a small copy.

The layout of :mod:`crossray.data.sources.picture_copy`: ``reports.csv`` with a row for each film, ``boxes.csv``,
``scores.csv``, ``images/`` and ``masks/``. Lungs were masked and boxed by different people; films with masks of
structures have a box of each structure too, so that a lung may have two boxes: the attribute ``box_sources`` names the
source of each box in turn, and the option ``boxes`` takes one kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from crossray.data.images import FilmPixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import check_row
from crossray.data.sources.covid_cxr_notes import LABELS, credit_of, finding_labels, note_report
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.facts import age_of, attributes, sex_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.picture_copy import BOXES, PictureCopy
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Film, Study, View

NOTES, SCORES = "reports.csv", "scores.csv"
#: Who drew the boxes, as the column ``source`` says it.
LUNG_BOXES, STRUCTURE_BOXES = "GeneralBlockchain lung boxes", "GeneralBlockchain segmentations"
GET_IT = (
    "It is a copy of github.com/ieee8023/covid-chestxray-dataset with the masks and scores of others; the licence is "
    "that of each film (column license), mostly CC BY-NC-SA."
)

_COLUMNS = (
    *("patient_id", "offset_days", "view", "finding", "sex", "age", "survival", "intubated", "went_icu"),
    *("needed_supplemental_O2", "clinical_notes", "other_notes", "license", "source_url"),
)
_COURSE = ("survival", "intubated", "went_icu", "needed_supplemental_O2")
_DAYS = re.compile(r"-?\d+")


class CovidCxrOptions(PublishedOptions):
    """Options. ``boxes``: of ``lungs`` as drawn for their own sake, of the masked ``structures``, or ``all``."""

    boxes: Literal["all", "lungs", "structures"] = "all"


class CovidCxrSource:
    """The films in the folder ``root``, in the order of their table; each is a study with the note of its row.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "covid_cxr"
    label_names = LABELS
    has_reports = True

    def __init__(self, root: Path, options: CovidCxrOptions | None = None) -> None:
        parts = (NOTES, BOXES, SCORES, "images/", "masks/")
        require_layout(root, parts, source=self.name, get_it=GET_IT)
        self.root = root
        self._options = options or CovidCxrOptions()
        # Copies differ in the patients that they hold, so none has published counts.
        self._expected = expected_of(self._options.expected_counts, self.name, root, {})
        self._copy = PictureCopy(root)

    def fingerprint(self) -> str:
        """Changes with a table, a film, a mask, or the boxes that are taken."""
        tables = [self.root / name for name in (NOTES, BOXES, SCORES)]
        return fingerprint_of(tables, self._copy.files, self.root, self._options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every film of the table as a study; then what no row of it speaks of.

        Raises:
            DataError: a table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        boxed = self._copy.box_rows()
        scores = {row["image"]: row for row in publisher_rows(self.root / SCORES, ("image",))}
        found = self._copy.studies(
            NOTES, _COLUMNS, lambda row: self._study(row, boxed.get(row["image"], []), scores.get(row["image"]))
        )
        return counted(found, self._expected, self.root)

    def _study(self, row: Row, box_rows: list[Row], scores: Row | None) -> Study:
        check_row(row, "patient_id", self.root / NOTES)
        image = row["image"]
        wanted = {"lungs": (LUNG_BOXES,), "structures": (STRUCTURE_BOXES,), "all": None}[self._options.boxes]
        boxes = self._copy.boxes_from([box for box in box_rows if wanted is None or box["source"] in wanted])
        view = view_of(row["view"])
        film = Film(
            Path(image).stem,
            view,
            FilmPixels(self._copy.film(image)),
            boxes=boxes.boxes,
            masks=self._copy.masks_of(image),
        )
        return Study(
            study_id=Path(image).stem,
            patient_id=row["patient_id"],
            films=(film,),
            report=note_report(row["clinical_notes"], row["other_notes"]),
            labels=finding_labels(row["finding"]),
            attributes=self._scores(scores)
            | attributes(
                sex=sex_of(row["sex"]),
                age=age_of(row["age"]),
                view_position=row["view"] if view == "frontal" else "",
                finding=row["finding"],
                offset_days=row["offset_days"] if _DAYS.fullmatch(row["offset_days"]) else "",
                credit=credit_of(row["other_notes"]),
                license=row["license"],
                source_url=row["source_url"],
                box_sources=boxes.told,
                **_course(row),
            ),
        )

    def _scores(self, row: Row | None) -> dict[str, str]:
        """The scores of a film under the names of their columns; few films have any."""
        if row is None:
            return {}
        check_row(row, "image", self.root / SCORES)
        return attributes(**{name: cell for name, cell in row.cells.items() if name != "image"})


def view_of(written: str) -> View:
    """PA, AP and AP Supine are frontal, L is lateral; a view that is not given is unknown."""
    if written.upper().startswith(("PA", "AP")):
        return "frontal"
    return "lateral" if written.upper() in ("L", "LATERAL") else "unknown"


def _course(row: Row) -> dict[str, str]:
    """Y or N; "Not visible", "Would have been stated" and "?" are no answers."""
    return {name: row[name] for name in _COURSE if row[name] in ("Y", "N")}
