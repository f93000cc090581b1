"""COVID-19 films of Hannover Medical School with course and laboratory values, lung boxes and lung masks: a small copy.

The layout of :mod:`crossray.data.sources.picture_copy`: ``labels.csv`` with a row for each film, ``boxes.csv``,
``images/`` and ``masks/lungs/``. Some films are whole, others square crops (attribute ``variant``); only the crops have
boxes and masks. A patient has films of both kinds, so a row without its patient is left out: a split by patient could
not keep it on one side. There are no reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crossray.data.images import FilmPixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import check_row
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.facts import attributes, sex_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.picture_copy import BOXES, PictureCopy, label_of
from crossray.data.sources.tables import Row
from crossray.data.study import Film, Report, Study, View

TABLE = "labels.csv"
LABELS = ("icu_at_any_time", "died")
GET_IT = (
    "It is a copy of github.com/ml-workgroup/covid-19-image-repository, CC BY 3.0, with lung boxes and masks of others."
)

_COLUMNS = ("variant", "patient_id", "sex", "projection", *LABELS)
# What has a place of its own in a study; every other column is an attribute.
_PLACED = frozenset({"image", "patient_id", "sex", "projection", *LABELS})
_VIEWS: dict[str, View] = {"AP": "frontal", "PA": "frontal", "L": "lateral", "LL": "lateral", "LATERAL": "lateral"}


class MhhCovidSource:
    """The films in the folder ``root``, in the order of their table; each is a study.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "mhh_covid"
    label_names = LABELS
    has_reports = False

    def __init__(self, root: Path, options: PublishedOptions | None = None) -> None:
        require_layout(root, (TABLE, BOXES, "images/", "masks/lungs/"), source=self.name, get_it=GET_IT)
        self.root = root
        # Copies differ in the patients that they hold, so none has published counts.
        self._expected = expected_of((options or PublishedOptions()).expected_counts, self.name, root, {})
        self._copy = PictureCopy(root)

    def fingerprint(self) -> str:
        """Changes with a table, a film or a mask."""
        return fingerprint_of([self.root / TABLE, self.root / BOXES], self._copy.files, self.root)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every film of the table as a study; then what no row of it speaks of.

        Raises:
            DataError: a table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        boxed = self._copy.box_rows()
        found = self._copy.studies(TABLE, _COLUMNS, lambda row: self._study(row, boxed.get(row["image"], [])))
        return counted(found, self._expected, self.root)

    def _study(self, row: Row, box_rows: list[Row]) -> Study:
        table = self.root / TABLE
        check_row(row, "patient_id", table)
        image, position = row["image"], row["projection"].upper()
        boxes = self._copy.boxes_from(box_rows)
        more = {name: cell for name, cell in row.cells.items() if name not in _PLACED}
        view = _VIEWS.get(position, "unknown")
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
            report=Report(""),
            labels={name: label_of(row, name, table) for name in LABELS},
            attributes=attributes(**more)
            | attributes(
                sex=sex_of(row["sex"]),
                view_position=position if view == "frontal" else "",
                box_sources=boxes.told,
            ),
        )
