"""RSNA Pneumonia Detection Challenge, stage 2 (localized_evaluation spec, §5.1).

The layout of the Kaggle download: ``stage_2_train_images/<patientId>.dcm``, ``stage_2_train_labels.csv`` with one row
a box and one row without box for a film without opacity, and, if it is there, ``stage_2_detailed_class_info.csv``. The
test images of stage 2 have no labels and are not read. Every film has the mask ``opacity``, empty where it has no box.

An id names one film, not one person: the films come from ChestX-ray14, where a person has several (§7, 7). So patients
are not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from crossray.data.images import FilmPixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import BadRowError, box_by_size, check_row, film_in, rejected, rows_by
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.facts import attributes
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.masks import BoxMask, SizeOfFilm
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Box, Film, Report, Study
from crossray.errors import StudyError

LABEL = "Lung Opacity"
MASK = "opacity"
#: §5.1, and the class table of `downstream_protocols`, section 1.
PUBLISHED = {
    "studies": 26_684,
    f"positive {LABEL}": 6_012,
    "boxes": 9_555,
    "rows of stage_2_train_labels.csv": 30_227,
}
GET_IT = (
    "It is the data of the Kaggle competition rsna-pneumonia-detection-challenge, free to use with attribution once "
    "its terms are accepted."
)

_FILMS, _LABELS, _CLASSES = "stage_2_train_images", "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
_BOX = ("x", "y", "width", "height")
_NOTHING = ("", "nan")


class RsnaPneumoniaSource:
    """The labelled films of a download in the folder ``root``, in the order of the labels table.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "rsna_pneumonia"
    label_names = (LABEL,)
    has_reports = False

    def __init__(self, root: Path, options: PublishedOptions | None = None) -> None:
        require_layout(root, (f"{_FILMS}/", _LABELS), source=self.name, get_it=GET_IT)
        self.root = root
        self._expected = expected_of((options or PublishedOptions()).expected_counts, self.name, root, PUBLISHED)
        self._films = {path.stem: path for path in sorted((root / _FILMS).glob("*.dcm"))}

    def fingerprint(self) -> str:
        """Changes with a table or a film."""
        tables = [self.root / name for name in (_LABELS, _CLASSES) if (self.root / name).is_file()]
        return fingerprint_of(tables, self._films.values(), self.root)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every labelled film as a study; its attribute ``detailed_class`` is the class of the detailed table.

        Raises:
            DataError: a table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        rows = list(publisher_rows(self.root / _LABELS, ("patientId", *_BOX, "Target")))
        more = {"rows of stage_2_train_labels.csv": len(rows)}
        return counted(self._studies(rows_by(rows, "patientId")), self._expected, self.root, more)

    def _studies(self, rows_of: dict[str, list[Row]]) -> Iterator[Study | Rejected | Remark]:
        classes = self._classes()
        for film_id, rows in rows_of.items():
            try:
                yield self._study(film_id, rows, classes.get(film_id, ""))
            except StudyError as error:
                yield rejected(film_id, error)
        for film_id in sorted(self._films.keys() - rows_of.keys()):
            reason = f"{_LABELS} has no row for it."
            yield Rejected(film_id, "no_label", reason, str(self._films[film_id]))

    def _study(self, film_id: str, rows: list[Row], detailed_class: str) -> Study:
        boxes = self._boxes(rows)
        path = film_in(self._films, film_id, self.root / _FILMS)
        mask = BoxMask(boxes, SizeOfFilm(path))
        film = Film(film_id, "frontal", FilmPixels(path), boxes=boxes, masks={MASK: mask})
        return Study(
            study_id=film_id,
            patient_id=None,
            films=(film,),
            report=Report(""),
            labels={LABEL: float(bool(boxes))},
            attributes=attributes(detailed_class=detailed_class),
        )

    def _boxes(self, rows: list[Row]) -> tuple[Box, ...]:
        table = self.root / _LABELS
        for row in rows:
            check_row(row, "patientId", table)
            filled = [column for column in _BOX if row[column].lower() not in _NOTHING]
            if row["Target"] not in ("0", "1") or bool(filled) != (row["Target"] == "1"):
                raise BadRowError(
                    f"Target '{row['Target']}' with {len(filled)} of four cells of a box.", file=table, row=row.number
                )
            if row["Target"] == "0" and len(rows) > 1:
                raise BadRowError(f"Target 0 beside {len(rows) - 1} other rows.", file=table, row=row.number)
        return tuple(box_by_size(LABEL, row, _BOX, table) for row in rows if row["Target"] == "1")

    def _classes(self) -> Mapping[str, str]:
        table = self.root / _CLASSES
        if not table.is_file():
            return {}
        return {row["patientId"]: row["class"] for row in publisher_rows(table, ("patientId", "class"))}
