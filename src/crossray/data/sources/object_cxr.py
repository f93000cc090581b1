"""Object-CXR: foreign objects on chest films, JF Healthcare's MIDL 2020 challenge (localized_evaluation spec, §5.4).

The publisher's layout: ``train/`` and ``dev/`` with JPEGs of varying size, ``train.csv`` and ``dev.csv`` with the
columns ``image_name, annotation`` (the challenge's page says ``image_path``). Every film has the mask
``foreign_object`` with the true shapes, empty where nothing is annotated, and the boxes around all objects. ``dev`` is
what LoVT tests on; it is ``validate`` in the attribute ``publisher_split``, for the publisher kept a test set back.
Films are made grey and equalised unless told otherwise. Patients are not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from crossray.data.equalise import film_pixels
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import BadRowError, check_row, film_in, rejected
from crossray.data.sources.expected import PublishedOptions, counted, expected_of
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.layout import require_layout
from crossray.data.sources.masks import SizeOfFilm
from crossray.data.sources.object_cxr_shapes import LABEL, ForeignObject, object_boxes, object_mask, parse_annotation
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Box, Film, Report, Study
from crossray.errors import StudyError

MASK = "foreign_object"
#: §5 and §5.4: the sums of the released lists, whose train and validation are the publisher's train.
PUBLISHED = {
    "studies": 9_000,
    "images of train": 8_000,
    "images of dev": 1_000,
    f"positive {LABEL}": 4_500,
    "boxes": 9_238,
}
GET_IT = "It is the object-CXR data set of JF Healthcare (academictorrents.com), CC BY-NC 4.0."

_PARTS = {"train": "train", "dev": "validate"}


class ObjectCxrOptions(PublishedOptions):
    """Options.

    Attributes:
        equalise: films equalised, as the localized tasks were measured.
        legacy: boxes and masks with the defects of LoVT's release (§7, items 1 and 2): width and height of boxes
            exchanged, ellipses filled as rectangles, polygons with x and y exchanged. A store holds no box beyond its
            film, so there a box is cut at the film's edge; the release kept what reaches beyond.
    """

    equalise: bool = True
    legacy: bool = False


class ObjectCxrSource:
    """The films of a download in the folder ``root``: train, then dev, in the order of the tables.

    Raises:
        DataError: a part of the layout is missing; each is named.
    """

    name = "object_cxr"
    label_names = (LABEL,)
    has_reports = False

    def __init__(self, root: Path, options: ObjectCxrOptions | None = None) -> None:
        parts = [name for part in _PARTS for name in (f"{part}/", f"{part}.csv")]
        require_layout(root, parts, source=self.name, get_it=GET_IT)
        self.root = root
        self._options = options or ObjectCxrOptions()
        self._expected = expected_of(self._options.expected_counts, self.name, root, PUBLISHED)
        self._films = {part: {path.name: path for path in sorted((root / part).glob("*.jpg"))} for part in _PARTS}

    def fingerprint(self) -> str:
        """Changes with a table, a film or an option."""
        films = [path for part in self._films.values() for path in part.values()]
        return fingerprint_of([self.root / f"{part}.csv" for part in _PARTS], films, self.root, self._options)

    def studies(self) -> Iterator[Study | Rejected | Remark]:
        """Every film of the tables as a study; the id is the film's name without extension.

        Raises:
            DataError: a table cannot be read, or, after the last study, the set holds other numbers than it should.
        """
        rows = {part: list(publisher_rows(self.root / f"{part}.csv", ("annotation",))) for part in _PARTS}
        more = {f"images of {part}": len(listed) for part, listed in rows.items()}
        items = (item for part, listed in rows.items() for item in self._part(part, listed))
        return counted(items, self._expected, self.root, more)

    def _part(self, part: str, rows: list[Row]) -> Iterator[Study | Rejected | Remark]:
        listed = set()
        for row in rows:
            # The table of the download and the challenge's page disagree about the name of the first column.
            written = Path(row["image_name"] or row["image_path"]).name
            listed.add(written)
            try:
                yield self._study(part, written, row)
            except StudyError as error:
                yield rejected(Path(written).stem, error)
        for name in sorted(self._films[part].keys() - listed):
            path = self._films[part][name]
            yield Rejected(path.stem, "no_label", f"{part}.csv has no row for it.", str(path))

    def _study(self, part: str, written: str, row: Row) -> Study:
        objects = self._objects(part, row)
        path = film_in(self._films[part], written, self.root / part)
        size = SizeOfFilm(path)
        boxes = object_boxes(objects, legacy=self._options.legacy)
        film = Film(
            path.stem,
            "frontal",
            film_pixels(path, equalised=self._options.equalise),
            boxes=_cut_at_edge(boxes, size) if self._options.legacy else boxes,
            masks={MASK: object_mask(objects, size, legacy=self._options.legacy)},
        )
        labels = {LABEL: float(bool(objects))}
        attributes = {"publisher_split": _PARTS[part]}
        return Study(path.stem, None, (film,), Report(""), labels=labels, attributes=attributes)

    def _objects(self, part: str, row: Row) -> tuple[ForeignObject, ...]:
        table = self.root / f"{part}.csv"
        check_row(row, "image_name" if "image_name" in row.cells else "image_path", table)
        try:
            return parse_annotation(row["annotation"])
        except ValueError as error:
            raise BadRowError(f"annotation {error}.", file=table, row=row.number) from error


def _cut_at_edge(boxes: tuple[Box, ...], size: SizeOfFilm) -> tuple[Box, ...]:
    if not boxes:
        return ()
    height, width = size.read()
    return tuple(replace(box, x_max=min(box.x_max, width), y_max=min(box.y_max, height)) for box in boxes)
