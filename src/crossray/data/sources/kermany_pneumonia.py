"""Children's films of Kermany et al. with lung masks: normal, bacterial and viral pneumonia; a small copy.

The layout of :mod:`crossray.data.sources.picture_copy` without boxes: ``labels.csv`` with a row for each film,
``images/`` and ``masks/lungs/``. All films are frontal; there are no reports. A patient is known by the file's name
alone (``person23_bacteria_79`` is ``person23``): films of one number stay together in splits, though those with
bacteria and those with viruses may have been numbered apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from crossray.data.images import FilmPixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import BadRowError, check_row
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.facts import attributes
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.picture_copy import PictureCopy
from crossray.data.sources.tables import Row
from crossray.data.study import Film, Report, Study

TABLE = "labels.csv"
CLASSES = ("normal", "bacterial", "viral")
PNEUMONIA = "Pneumonia"
GET_IT = (
    "It is a copy of the films at doi.org/10.17632/rscbjbr9sj.3 with the lung masks of V7 Labs "
    "(github.com/v7labs/covid-19-xray-dataset), both CC BY 4.0."
)


class KermanyPneumoniaSource:
    """The films in the folder ``root``, in the order of their table; each is a study.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "kermany_pneumonia"
    label_names = (*CLASSES, PNEUMONIA)
    has_reports = False

    def __init__(self, root: Path, options: PublishedOptions | None = None) -> None:
        require_layout(root, (TABLE, "images/", "masks/lungs/"), source=self.name, get_it=GET_IT)
        self.root = root
        # Copies differ in the patients that they hold, so none has published counts.
        self._expected = expected_of((options or PublishedOptions()).expected_counts, self.name, root, {})
        self._copy = PictureCopy(root)

    def fingerprint(self) -> str:
        """Changes with the table, a film or a mask."""
        return fingerprint_of([self.root / TABLE], self._copy.files, self.root)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every film of the table as a study; then what no row of it speaks of.

        Raises:
            DataError: the table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        found = self._copy.studies(TABLE, ("patient_id", "label", "lung_fraction", "license"), self._study)
        return counted(found, self._expected, self.root)

    def _study(self, row: Row) -> Study:
        table = self.root / TABLE
        check_row(row, "patient_id", table)
        if row["label"] not in CLASSES:
            raise BadRowError(f"'{row['label']}' is none of {', '.join(CLASSES)}.", file=table, row=row.number)
        image = row["image"]
        film = Film(Path(image).stem, "frontal", FilmPixels(self._copy.film(image)), masks=self._copy.masks_of(image))
        labels = {name: float(row["label"] == name) for name in CLASSES}
        return Study(
            study_id=Path(image).stem,
            patient_id=row["patient_id"],
            films=(film,),
            report=Report(""),
            labels=labels | {PNEUMONIA: 1.0 - labels["normal"]},
            attributes=attributes(lung_fraction=row["lung_fraction"], license=row["license"]),
        )
