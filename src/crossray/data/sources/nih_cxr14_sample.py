"""A small copy of NIH ChestX-ray14 with the boxes of NIH and of RSNA 2018, and radiologists' readings of some films.

The layout of :mod:`crossray.data.sources.picture_copy` without masks: ``labels.csv``, ``boxes.csv`` and JPEG films in
``images/``. It is a source of its own beside ``nih_cxr14``: its tables share no column with the publisher's, its boxes
are in pixels of smaller films and partly of another origin, and the published counts do not hold for it. Labels, names
of boxes and masks, and options are those of ``nih_cxr14``, and for RSNA's boxes those of ``rsna_pneumonia``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from crossray.data.equalise import film_pixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import BadRowError, check_row, number_of
from crossray.data.sources.expected import counted, expected_of
from crossray.data.sources.facts import age_of, attributes, sex_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.masks import BoxMask, SizeOfFilm
from crossray.data.sources.nih_cxr14 import BOX_CLASSES, CLASSES, NO_FINDING, NihCxr14Options
from crossray.data.sources.picture_copy import BOXES, PictureCopy, SourcedBoxes, label_of
from crossray.data.sources.rsna_pneumonia import LABEL as OPACITY
from crossray.data.sources.rsna_pneumonia import MASK as OPACITY_MASK
from crossray.data.sources.tables import Row
from crossray.data.study import Film, MaskSource, Report, Study

TABLE = "labels.csv"
#: Class of RSNA -> whether there is an opacity; a film that RSNA did not take has no class.
RSNA_CLASSES: Mapping[str, float] = {
    "": math.nan,
    "Normal": 0.0,
    "No Lung Opacity / Not Normal": 0.0,
    "Lung Opacity": 1.0,
}
GET_IT = (
    "It is a copy of a part of NIH ChestX-ray14 (nihcc.app.box.com/v/ChestXray-NIHCC), free to use with attribution. "
    "The whole set, as published, is read by the source nih_cxr14."
)

_LABEL_COLUMNS = {**{name: name for name in CLASSES}, NO_FINDING: "No_Finding"}
# Too few films for labels, which every evaluation of the store would take up: attributes.
_READINGS = ("google_fracture", "google_pneumothorax", "google_airspace_opacity", "google_nodule_or_mass")
_SPLITS = {"": "", "train_val": "train", "test": "test"}
_COLUMNS = ("patient_id", "age", "sex", "view", *_LABEL_COLUMNS.values(), "nih_split", "rsna_id", "rsna_class")


class NihCxr14SampleSource:
    """The films in the folder ``root``, in the order of their table; each is a study.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "nih_cxr14_sample"
    label_names = (*CLASSES, NO_FINDING, OPACITY)
    has_reports = False

    def __init__(self, root: Path, options: NihCxr14Options | None = None) -> None:
        require_layout(root, (TABLE, BOXES, "images/"), source=self.name, get_it=GET_IT)
        self.root = root
        self._options = options or NihCxr14Options()
        self._expected = expected_of(self._options.expected_counts, self.name, root, {})
        self._copy = PictureCopy(root)

    def fingerprint(self) -> str:
        """Changes with a table, a film, or whether films are equalised."""
        return fingerprint_of([self.root / TABLE, self.root / BOXES], self._copy.files, self.root, self._options)

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
        if row["nih_split"] not in _SPLITS:
            raise BadRowError(f"nih_split '{row['nih_split']}' is not known.", file=table, row=row.number)
        labels, boxes = self._labels(row), self._boxes(row, box_rows)
        path = self._copy.film(row["image"])
        pixels = film_pixels(path, equalised=self._options.equalise)
        stem = Path(row["image"]).stem
        film = Film(stem, "frontal", pixels, boxes=boxes.boxes, masks=_masks(path, boxes, labels[OPACITY]))
        return Study(
            study_id=stem,
            patient_id=row["patient_id"],
            films=(film,),
            report=Report(""),
            labels=labels,
            attributes=attributes(
                sex=sex_of(row["sex"]),
                age=age_of(row["age"]),
                view_position=row["view"],
                publisher_split=_SPLITS[row["nih_split"]],
                rsna_id=row["rsna_id"],
                rsna_class=row["rsna_class"],
                box_sources=boxes.told,
                **{name: f"{number_of(row, name, table):g}" for name in _READINGS if row[name]},
            ),
        )

    def _labels(self, row: Row) -> dict[str, float]:
        table = self.root / TABLE
        if row["rsna_class"] not in RSNA_CLASSES:
            raise BadRowError(f"rsna_class '{row['rsna_class']}' is not known.", file=table, row=row.number)
        labels = {name: label_of(row, column, table) for name, column in _LABEL_COLUMNS.items()}
        if labels[NO_FINDING] == 1.0 and any(labels[name] == 1.0 for name in CLASSES):
            raise BadRowError(f"{NO_FINDING} beside other labels.", file=table, row=row.number)
        return labels | {OPACITY: RSNA_CLASSES[row["rsna_class"]]}

    def _boxes(self, row: Row, box_rows: list[Row]) -> SourcedBoxes:
        """RSNA's boxes have one name and NIH's have others; on no film but one of RSNA's class may the former be."""
        boxes = self._copy.boxes_from(box_rows)
        for box, box_row in zip(boxes.boxes, box_rows, strict=True):
            if box.label != OPACITY and box.label not in BOX_CLASSES:
                reason = f"'{box.label}' is no class of boxes."
                raise BadRowError(reason, file=self.root / BOXES, row=box_row.number)
        opacities = sum(box.label == OPACITY for box in boxes.boxes)
        if bool(opacities) != (RSNA_CLASSES[row["rsna_class"]] == 1.0):
            reason = f"rsna_class '{row['rsna_class']}' with {opacities} boxes of {OPACITY}."
            raise BadRowError(reason, file=self.root / TABLE, row=row.number)
        return boxes


def _masks(path: Path, boxes: SourcedBoxes, opacity: float) -> dict[str, MaskSource]:
    """Filled boxes of each class; a film that RSNA read has the mask of opacities, be it empty."""
    names = dict.fromkeys(box.label for box in boxes.boxes)
    if not math.isnan(opacity):
        names.setdefault(OPACITY)
    return {
        OPACITY_MASK if name == OPACITY else name: BoxMask(
            tuple(box for box in boxes.boxes if box.label == name), SizeOfFilm(path)
        )
        for name in names
    }
