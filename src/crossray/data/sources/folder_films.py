"""Films of a manifest: view, true shape, boxes and masks of one row; and the check against a DICOM header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.dicom_file import looks_like_dicom, read_start
from crossray.data.dicom_header import read_header
from crossray.data.dicom_view import view_in_words
from crossray.data.images import FileMask, FilmPixels
from crossray.data.sources.folder_boxes import BoxTable
from crossray.data.sources.layout import is_file
from crossray.data.sources.tables import Row, Table
from crossray.data.study import Film, View
from crossray.errors import StudyError

MASK_PREFIX = "mask:"

_SHORT_VIEWS: dict[str, View] = {"unknown": "unknown", "l": "lateral"}  # "L" of a view is no word of a description


class FilmRowError(StudyError):
    """A row of a manifest that gives no film."""

    rule = "bad_film_row"


class MissingFileError(StudyError):
    """A film's file is not there."""

    rule = "missing_file"


class DuplicateFilmError(StudyError):
    """A film stands in the manifest more than once."""

    rule = "duplicate_film"


class ViewContradictionError(StudyError):
    """The manifest says frontal and the DICOM header lateral, or the other way round."""

    rule = "view_contradicts_header"


@dataclass(frozen=True)
class CheckedPixels:
    """A film whose view the manifest tells: a DICOM header that says otherwise refuses it."""

    path: Path
    view: View

    def read(self) -> NDArray[np.uint8]:
        """Pixels as :meth:`crossray.data.images.FilmPixels.read`.

        Raises:
            ViewContradictionError: the header of a DICOM film names the other view.
            StudyError: the film cannot be read.
        """
        said = header_view(self.path)
        if {said, self.view} == {"frontal", "lateral"}:
            raise ViewContradictionError(
                f"the manifest says {self.view}, the DICOM header says {said}.",
                file=self.path,
                remedy=f"Write {said} in the column 'view', or correct the header.",
            )
        return FilmPixels(self.path).read()


def header_view(path: Path) -> View:
    """What a film's DICOM header says of its view; ``unknown`` where it is silent or the file is no DICOM.

    Raises:
        StudyError: the file cannot be read.
    """
    return read_header(path).view if looks_like_dicom(read_start(path)) else "unknown"


class FilmReader:
    """Makes films of rows; remembers which it has seen. Films lie below ``films``, masks below ``home``."""

    def __init__(self, table: Table, home: Path, films: Path, boxes: BoxTable | None) -> None:
        self._home = home
        self._films = films
        self._boxes = boxes
        self._masks = [name for name in table.columns if name.startswith(MASK_PREFIX)]
        self._rows_of: dict[Path, int] = {}

    def film(self, row: Row) -> Film:
        """The film of a row; its id is its path as the manifest writes it.

        Raises:
            StudyError: no or no new file, no such view, half a shape, or a box that is none.
        """
        written = row["film"]
        if not written:
            raise FilmRowError("the column 'film' is empty.")
        path = self._films / written
        if not is_file(path):
            raise MissingFileError(f"the file {path} is not there.")
        first = self._rows_of.setdefault(path, row.number)
        if first != row.number:
            raise DuplicateFilmError(f"row {first} names the same film; it belongs to one study, once.")
        height, width = (_size(row, name) for name in ("original_height", "original_width"))
        if (height is None) != (width is None):
            raise FilmRowError("only one of original_height and original_width is filled.")
        view = _view(row["view"]) if row["view"] else header_view(path)
        boxes = self._boxes.boxes_of(written) if self._boxes is not None else ()
        masks = {name.removeprefix(MASK_PREFIX): FileMask(self._home / row[name]) for name in self._masks if row[name]}
        return Film(written, view, CheckedPixels(path, view), height, width, boxes, masks)


def _view(written: str) -> View:
    if written.lower() in _SHORT_VIEWS:
        return _SHORT_VIEWS[written.lower()]
    view = view_in_words(written)
    if view is None:
        raise FilmRowError(f"view '{written}' is not frontal (PA, AP), lateral or unknown.")
    return view


def _size(row: Row, column: str) -> int | None:
    written = row[column]
    if not written:
        return None
    if not written.isdecimal() or int(written) < 1:
        raise FilmRowError(f"{column} '{written}' is not a size in pixels.")
    return int(written)
