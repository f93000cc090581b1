"""NIH ChestX-ray14 with its boxes (`localized_evaluation`, section 5.5).

The publisher's layout: ``Data_Entry_2017_v2020.csv``, ``BBox_List_2017.csv``, ``train_val_list.txt``,
``test_list.txt``, and PNG films in ``images/`` or as the twelve archives unpack, in ``images_001/images/`` to
``images_012/images/``. The boxes' table calls one class Infiltrate that the labels call Infiltration; both names stay.

Every film is a study of its own and frontal; there are no reports. Labels were mined from reports and are noisy. A film
with boxes has one mask of filled boxes for each class boxed on it; most films with a finding have no box, so a missing
mask says nothing, except on a film with the label No Finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from crossray.data.equalise import film_pixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import BadRowError, box_by_size, check_row, film_in, rejected, rows_by
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.facts import age_of, attributes, sex_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import find_part, require_layout
from crossray.data.sources.masks import BoxMask, SizeOfFilm
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Box, Film, Report, Study
from crossray.errors import DataError, StudyError

CLASSES = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
NO_FINDING = "No Finding"
#: Classes of the boxes in the order of their index in the protocol (section 5.5), with their published numbers.
BOX_CLASSES: Mapping[str, int] = {
    "Atelectasis": 180,
    "Cardiomegaly": 146,
    "Effusion": 153,
    "Infiltrate": 123,
    "Mass": 85,
    "Nodule": 79,
    "Pneumonia": 120,
    "Pneumothorax": 98,
}
#: Images: 78,468 + 11,219 + 22,433 (`downstream_protocols`, section 8.1).
PUBLISHED = {
    "images": 112_120,
    "boxes": 984,
    "images with boxes": 880,
    **{f"boxes of {name}": number for name, number in BOX_CLASSES.items()},
}
GET_IT = (
    "It is at https://nihcc.app.box.com/v/ChestXray-NIHCC, free to use with attribution. A small copy with "
    "labels.csv and boxes.csv is read by the source nih_cxr14_sample."
)

DATA_ENTRY = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
BOXES, TRAIN_LIST, TEST_LIST = "BBox_List_2017.csv", "train_val_list.txt", "test_list.txt"
FILM_FOLDERS = ("images/", "images_*/images/")

# The header is "Bbox [x,y,w,h]" without quotation marks: four columns.
_BOX_COLUMNS = ("Bbox [x", "y", "w", "h]")
_ENTRY_COLUMNS = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position")


class NihCxr14Options(PublishedOptions):
    """Options. ``equalise``: films equalised, as LoVT's task was measured; other protocols take them as they are."""

    equalise: bool = False


class NihCxr14Source:
    """The set in the folder ``root``, films in the order of the labels' table.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "nih_cxr14"
    label_names = (*CLASSES, NO_FINDING)
    has_reports = False

    def __init__(self, root: Path, options: NihCxr14Options | None = None) -> None:
        parts = (DATA_ENTRY, BOXES, TRAIN_LIST, TEST_LIST, FILM_FOLDERS)
        require_layout(root, parts, source=self.name, get_it=GET_IT)
        self.root = root
        self._entries = find_part(root, DATA_ENTRY) or root / DATA_ENTRY[0]
        self._options = options or NihCxr14Options()
        self._expected = expected_of(self._options.expected_counts, self.name, root, PUBLISHED)
        folders = (folder for pattern in FILM_FOLDERS for folder in sorted(root.glob(pattern.rstrip("/"))))
        self._films = {path.name: path for folder in folders for path in sorted(folder.glob("*.png"))}

    def fingerprint(self) -> str:
        """Changes with a table, a list, a film, or whether films are equalised."""
        tables = [self._entries, *(self.root / name for name in (BOXES, TRAIN_LIST, TEST_LIST))]
        return fingerprint_of(tables, self._films.values(), self.root, self._options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every film of the labels' table as a study; then each film, and each film's boxes, that it has no row of.

        Raises:
            DataError: a table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        return counted(self._studies(), self._expected, self.root)

    def _studies(self) -> Iterator[Study | Rejected | Remark]:
        split_of = dict.fromkeys(self._listed(TRAIN_LIST), "train") | dict.fromkeys(self._listed(TEST_LIST), "test")
        boxed = rows_by(
            publisher_rows(self.root / BOXES, ("Image Index", "Finding Label", *_BOX_COLUMNS)), "Image Index"
        )
        seen: set[str] = set()
        for row in publisher_rows(self._entries, _ENTRY_COLUMNS):
            name = row["Image Index"]
            try:
                if name in seen:
                    raise BadRowError(f"the film {name} stands there twice.", file=self._entries, row=row.number)
                seen.add(name)
                yield self._study(row, boxed.get(name, []), split_of.get(name, ""))
            except StudyError as error:
                yield rejected(Path(name).stem, error)
        for name in sorted(self._films.keys() - seen):
            reason = f"{self._entries.name} has no row for it."
            yield Rejected(Path(name).stem, "no_label", reason, str(self._films[name]))
        for name in sorted(boxed.keys() - seen):
            reason = f"{BOXES} has boxes of it, {self._entries.name} has no such film."
            yield Remark("", "box_of_unknown_film", reason, name)

    def _study(self, row: Row, box_rows: list[Row], split: str) -> Study:
        check_row(row, "Image Index", self._entries)
        name = row["Image Index"]
        labels = self._labels(row)
        boxes = tuple(self._box(box_row) for box_row in box_rows)
        path = film_in(self._films, name, self.root)
        masks = {
            label: BoxMask(tuple(box for box in boxes if box.label == label), SizeOfFilm(path))
            for label in dict.fromkeys(box.label for box in boxes)
        }
        pixels = film_pixels(path, equalised=self._options.equalise)
        return Study(
            study_id=Path(name).stem,
            patient_id=row["Patient ID"] or None,
            films=(Film(Path(name).stem, "frontal", pixels, boxes=boxes, masks=masks),),
            report=Report(""),
            labels=labels,
            attributes=attributes(
                sex=sex_of(row["Patient Gender"]),
                age=age_of(row["Patient Age"]),
                view_position=row["View Position"],
                publisher_split=split,
            ),
        )

    def _labels(self, row: Row) -> dict[str, float]:
        found = row["Finding Labels"].split("|")
        for name in found:
            if name not in self.label_names:
                raise BadRowError(f"'{name}' is none of the labels.", file=self._entries, row=row.number)
        if NO_FINDING in found and len(found) > 1:
            raise BadRowError(f"{NO_FINDING} beside other labels.", file=self._entries, row=row.number)
        return {name: float(name in found) for name in self.label_names}

    def _box(self, row: Row) -> Box:
        table = self.root / BOXES
        check_row(row, "Image Index", table)
        if row["Finding Label"] not in BOX_CLASSES:
            raise BadRowError(f"'{row['Finding Label']}' is no class of boxes.", file=table, row=row.number)
        return box_by_size(row["Finding Label"], row, _BOX_COLUMNS, table)

    def _listed(self, name: str) -> list[str]:
        path = self.root / name
        try:
            return path.read_text(encoding="utf-8").split()
        except ValueError as error:
            raise DataError(f"is no list of files ({error}).", file=path, remedy="Download it again.") from error
