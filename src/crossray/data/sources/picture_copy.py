"""What the small copies of public sets share: ``images/``, masks in ``masks/<name>/``, boxes in ``boxes.csv``.

Such a copy is made by people who do not publish the set: films as 8-bit JPEG of a few hundred pixels, one table with a
row for each film (column ``image``, its file name), masks as PNG of the film's size under the film's name (255 inside,
127 ignore, 0 outside), boxes in pixels of the film at hand with the column ``source``: who drew them. Every film is a
study of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.cells import BadRowError, box_by_corners, check_row, film_in, rejected, rows_by
from crossray.data.sources.masks import PictureMask
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Box, MaskSource, Study
from crossray.errors import StudyError

IMAGES, MASKS, BOXES = "images", "masks", "boxes.csv"
_PICTURES = frozenset({".jpg", ".jpeg", ".png"})
_CORNERS = ("x_min", "y_min", "x_max", "y_max")


@dataclass(frozen=True)
class SourcedBoxes:
    """The boxes of a film in the order of their table, and who drew each."""

    boxes: tuple[Box, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The sources as an attribute: one for each box, ``|`` between; empty without boxes."""
        return "|".join(self.sources)


class PictureCopy:
    """The films, masks and boxes in the folder ``root``.

    Attributes:
        root: the folder.
        films: file name -> file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.films = {path.name: path for path in sorted((root / IMAGES).iterdir()) if path.suffix in _PICTURES}
        self._masks = {
            folder.name: {path.stem: path for path in sorted(folder.glob("*.png"))}
            for folder in sorted((root / MASKS).glob("*/"))
        }

    @property
    def files(self) -> list[Path]:
        """Films and masks, for a fingerprint."""
        return [*self.films.values(), *(path for files in self._masks.values() for path in files.values())]

    def film(self, image: str) -> Path:
        """The file of a film.

        Raises:
            MissingFilmError: it is not there.
        """
        return film_in(self.films, image, self.root / IMAGES)

    def masks_of(self, image: str) -> dict[str, MaskSource]:
        """The masks of a film by the names of their folders; a folder without one of it tells nothing of the film."""
        stem = Path(image).stem
        return {
            name: PictureMask(files[stem], keeps_ignore=True) for name, files in self._masks.items() if stem in files
        }

    def box_rows(self) -> dict[str, list[Row]]:
        """The rows of the table of boxes by film.

        Raises:
            DataError: the table is missing or lacks a column.
        """
        return rows_by(publisher_rows(self.root / BOXES, ("image", "label", *_CORNERS, "source")), "image")

    def boxes_from(self, rows: Sequence[Row]) -> SourcedBoxes:
        """The boxes of a film.

        Raises:
            BadRowError: a row has no label or source, or its box is none.
        """
        table = self.root / BOXES
        for row in rows:
            check_row(row, "label", table)
            check_row(row, "source", table)
        boxes = tuple(box_by_corners(row["label"], row, _CORNERS, table) for row in rows)
        return SourcedBoxes(boxes, tuple(row["source"] for row in rows))

    def studies(
        self, table: str, columns: Sequence[str], study_of: Callable[[Row], Study]
    ) -> Iterator[Study | Rejected | Remark]:
        """A study for each row of the table of films; then what no row speaks of.

        Args:
            table: its name.
            columns: columns that it must have besides ``image``.
            study_of: makes a study of a row, or raises a StudyError: the row is then a rejection.

        Raises:
            DataError: the table cannot be read or lacks a column.
        """
        path = self.root / table
        seen: set[str] = set()
        for row in publisher_rows(path, ("image", *columns)):
            image = row["image"]
            came_before = image in seen
            seen.add(image)
            try:
                check_row(row, "image", path)
                if came_before:
                    raise BadRowError(f"the film {image} stands there twice.", file=path, row=row.number)
                yield study_of(row)
            except StudyError as error:
                yield rejected(Path(image).stem, error)
        yield from self._without_row(table, seen)

    def _without_row(self, table: str, seen: set[str]) -> Iterator[Rejected | Remark]:
        reason = f"{table} has no row for it."
        for image in sorted(self.films.keys() - seen):
            yield Rejected(Path(image).stem, "no_label", reason, str(self.films[image]))
        stems = {Path(image).stem for image in (*seen, *self.films)}
        for name, files in self._masks.items():
            for stem in sorted(files.keys() - stems):
                yield Remark("", "mask_of_unknown_film", f"{MASKS}/{name}/ has a mask of it. {reason}", stem)
        boxed = self.box_rows() if (self.root / BOXES).is_file() else {}
        for image in sorted(boxed.keys() - seen - self.films.keys()):
            yield Remark("", "box_of_unknown_film", f"{BOXES} has boxes of it. {reason}", image)


def label_of(row: Row, column: str, table: Path) -> float:
    """A label written 0 or 1 (or 0.0, 1.0); unknown where the cell is empty.

    Raises:
        BadRowError: it is something else.
    """
    if not row[column]:
        return float("nan")
    if row[column] not in ("0", "1", "0.0", "1.0"):
        raise BadRowError(f"{column} is '{row[column]}', not 0 or 1.", file=table, row=row.number)
    return float(row[column])
