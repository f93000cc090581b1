"""VinDr-CXR: 28 classes and boxes of 22 of them, on films of two hospitals in Vietnam.

The publisher's layout (PhysioNet, version 1.0.0): ``train/<image_id>.dicom`` and ``test/<image_id>.dicom``; in
``annotations/`` the boxes ``annotations_train.csv`` and ``annotations_test.csv``, and the classes
``image_labels_train.csv`` and ``image_labels_test.csv``.

Each training film was read by several people on their own, each test film by five who agreed on one reading. So:

* A training film's label is the vote of its readers: by ``agreement`` the majority of them, any of them, or all. A
  test film's label is the consensus as it stands.
* The boxes of all readers are kept as they drew them, so a lesion that three people saw has three boxes. The study's
  attribute ``box_readers`` names the reader of each box in turn, with ``|`` between; a test film has none. Boxes know
  nothing of the vote: a class that only one of three saw may have a box and the label 0.

The publisher's "Other disease" of the test table is the "Other diseases" of the training table. Patients are not
told, and all films are frontal (PA).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from crossray.data.images import FilmPixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import BadRowError, box_by_corners, check_row, film_in, rejected, rows_by
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Box, Film, Report, Study
from crossray.errors import DataError, StudyError

#: BenchX divides the publisher's train 12,000 to 3,000; its test has 3,000 (`downstream_protocols`, §8.1).
PUBLISHED = {"studies": 18_000, "images of train": 15_000, "images of test": 3_000}
GET_IT = "It is at physionet.org/content/vindr-cxr, for credentialed users who sign its data use agreement."
NO_FINDING = "No finding"

_PARTS = ("train", "test")
_BOX = ("x_min", "y_min", "x_max", "y_max")
_READERS = ("rad_id", "rad_ID")
_SAME_CLASS = {"Other disease": "Other diseases"}
_VALUES = {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0}


class VindrCxrOptions(PublishedOptions):
    """Options. ``agreement``: how many of a training film's readers make a class present."""

    agreement: Literal["any", "majority", "all"] = "majority"


class VindrCxrSource:
    """The films of a download in the folder ``root``: train, then test, in the order of the tables of classes.

    Raises:
        DataError: a part of the layout is missing (each is named), or a table of classes has no rows.
    """

    name = "vindr_cxr"
    has_reports = False

    def __init__(self, root: Path, options: VindrCxrOptions | None = None) -> None:
        tables = [f"annotations/{kind}_{part}.csv" for part in _PARTS for kind in ("annotations", "image_labels")]
        require_layout(root, ["train/", "test/", *tables], source=self.name, get_it=GET_IT)
        self.root = root
        self._options = options or VindrCxrOptions()
        self._expected = expected_of(self._options.expected_counts, self.name, root, PUBLISHED)
        self._films = {part: {path.stem: path for path in sorted((root / part).glob("*.dicom"))} for part in _PARTS}
        self._classes = {part: _class_columns(self._table("image_labels", part)) for part in _PARTS}

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes of the training table, then those that only the test table has."""
        return tuple(dict.fromkeys(name for part in _PARTS for name in self._classes[part].values()))

    def fingerprint(self) -> str:
        """Changes with a table, a film, or how readers are made to agree."""
        tables = [self._table(kind, part) for part in _PARTS for kind in ("annotations", "image_labels")]
        films = [path for part in self._films.values() for path in part.values()]
        return fingerprint_of(tables, films, self.root, self._options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every film of the tables as a study of its own.

        Raises:
            DataError: a table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        more: dict[str, int] = {}
        items = (item for part in _PARTS for item in self._part(part, more))
        return counted(items, self._expected, self.root, more)

    def _part(self, part: str, more: dict[str, int]) -> Iterator[Study | Rejected | Remark]:
        readings = rows_by(publisher_rows(self._table("image_labels", part), ("image_id",)), "image_id")
        drawn = rows_by(publisher_rows(self._table("annotations", part), ("image_id", "class_name", *_BOX)), "image_id")
        more[f"images of {part}"] = len(readings)
        for film_id, rows in readings.items():
            try:
                yield self._study(part, film_id, rows, drawn.get(film_id, []))
            except StudyError as error:
                yield rejected(film_id, error)
        known = self._films[part].keys() | drawn.keys()
        for film_id in sorted(known - readings.keys()):
            yield Rejected(film_id, "no_label", f"image_labels_{part}.csv has no row for it.")

    def _study(self, part: str, film_id: str, readings: list[Row], drawn: list[Row]) -> Study:
        labels = self._labels(part, readings)
        boxes, readers = self._boxes(part, drawn)
        path = film_in(self._films[part], film_id, self.root / part)
        attributes = {"publisher_split": part, "view_position": "PA"}
        if any(readers):
            attributes["box_readers"] = "|".join(readers)
        film = Film(film_id, "frontal", FilmPixels(path), boxes=boxes)
        return Study(film_id, None, (film,), Report(""), labels=labels, attributes=attributes)

    def _labels(self, part: str, readings: list[Row]) -> dict[str, float]:
        table = self._table("image_labels", part)
        readers = [_reader(row) for row in readings]
        for row in readings:
            check_row(row, "image_id", table)
        if len(set(readers)) != len(readers):
            raise BadRowError("one reader has two rows of this film.", file=table, row=readings[-1].number)
        needed = {"any": 1, "majority": len(readings) // 2 + 1, "all": len(readings)}[self._options.agreement]
        labels = dict.fromkeys(self.label_names, math.nan)
        for column, name in self._classes[part].items():
            labels[name] = float(sum(_vote(row, column, table) for row in readings) >= needed)
        return labels

    def _boxes(self, part: str, drawn: list[Row]) -> tuple[tuple[Box, ...], list[str]]:
        """Boxes in the order of the table, and the reader of each."""
        table = self._table("annotations", part)
        boxes, readers = [], []
        for row in drawn:
            check_row(row, "class_name", table)
            if row["class_name"] == NO_FINDING:
                if any(row[column] for column in _BOX):
                    raise BadRowError(f"a box of '{NO_FINDING}'.", file=table, row=row.number)
                continue
            boxes.append(box_by_corners(row["class_name"], row, _BOX, table))
            readers.append(_reader(row))
        return tuple(boxes), readers

    def _table(self, kind: str, part: str) -> Path:
        return self.root / "annotations" / f"{kind}_{part}.csv"


def _class_columns(table: Path) -> dict[str, str]:
    """Columns of classes -> the name of the class."""
    first = next(publisher_rows(table, ("image_id",)), None)
    if first is None:
        raise DataError("has no rows.", file=table, remedy="Download it again.")
    columns = [name for name in first.cells if name not in ("image_id", *_READERS)]
    return {name: _SAME_CLASS.get(name, name) for name in columns}


def _reader(row: Row) -> str:
    return next((row[column] for column in _READERS if row[column]), "")


def _vote(row: Row, column: str, table: Path) -> float:
    if row[column] not in _VALUES:
        raise BadRowError(f"{column} is '{row[column]}', not 0 or 1.", file=table, row=row.number)
    return _VALUES[row[column]]
