"""Tables of CheXpert and CheXphoto: one row a film, its path tells split, patient, study and view."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossray.data.images import FilmPixels
from crossray.data.sources.base import Rejected
from crossray.data.sources.cells import BadRowError, MissingFilmError, check_row, rejected
from crossray.data.sources.chexpert_marks import (
    UNCERTAIN,
    MarkPolicy,
    labels_of_marks,
    marks_of,
    uncertain_classes,
)
from crossray.data.sources.facts import age_of, attributes, sex_of
from crossray.data.sources.layout import is_file
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.sources.tables import Row
from crossray.data.study import Film, PixelSource, Report, Study, View
from crossray.errors import StudyError

#: Folder of a split -> what the split is called in the attribute ``publisher_split``.
SPLITS = {"train": "train", "valid": "validate", "test": "test"}

_PLACE = re.compile(
    r"(?:.*/)?(?P<path>(?P<split>train|valid|test)/(?P<kind>(?:[^/]+/)*?)"
    r"(?P<patient>patient\d+)/(?P<study>study\d+)/(?P<film>[^/]+)\.\w+)"
)
_VIEWS: dict[str, View] = {"frontal": "frontal", "lateral": "lateral"}


@dataclass(frozen=True, slots=True)
class Place:
    """What the path of a film says.

    Attributes:
        path: the film's file below the set's folder.
        split: a key of :data:`SPLITS`.
        kind: folders between split and patient, such as ``natural/iphone``; empty for CheXpert.
        patient, study: names of their folders.
    """

    path: str
    split: str
    kind: str
    patient: str
    study: str

    @property
    def study_id(self) -> str:
        """A name for the study: kind, patient, study."""
        return "_".join(part for part in (*self.kind.split("/"), self.patient, self.study) if part)


def place_of(path: str) -> Place | None:
    """What a path says, whatever stands before its split; ``None`` if it is none of this form."""
    match = _PLACE.fullmatch(path)
    if match is None:
        return None
    return Place(match["path"], match["split"], match["kind"].rstrip("/"), match["patient"], match["study"])


@dataclass(frozen=True, slots=True)
class FilmRow:
    """A row of such a table: where it stands, and the place of its film."""

    table: Path
    row: Row
    place: Place

    @property
    def path(self) -> str:
        """The film's file below the set's folder."""
        return self.place.path

    @property
    def study_id(self) -> str:
        """The study's name."""
        return self.place.study_id

    @property
    def view(self) -> View:
        """Frontal or lateral by the column, or by the file's name where the table has none."""
        written = self.row["Frontal/Lateral"] or self.path.rpartition(".")[0].rpartition("_")[2]
        return _VIEWS.get(written.lower(), "unknown")


def film_rows(table: Path) -> Iterator[FilmRow | Rejected]:
    """The rows of a table; one whose path is none is rejected. Cells are looked at study by study."""
    for row in publisher_rows(table, ("Path",)):
        place = place_of(row["Path"])
        if place is None:
            reason = f"Path '{row['Path']}' is not of the form train/patient00001/study1/view1_frontal.jpg."
            # Of which study is not known; its other films make one, so a film is left out here, not a study.
            yield Rejected("", BadRowError.rule, reason, str(table), row.number, row["Path"])
            continue
        yield FilmRow(table, row, place)


def table_films(tables: Sequence[Path], root: Path) -> Iterator[Path]:
    """Files of the films that the tables name."""
    for table in tables:
        yield from (root / item.path for item in film_rows(table) if isinstance(item, FilmRow))


def table_studies(
    tables: Sequence[Path],
    root: Path,
    policy: MarkPolicy,
    report_of: Callable[[FilmRow], Report] = lambda film_row: Report(""),
    wanted: Callable[[FilmRow], bool] = lambda film_row: True,
    pixels_of: Callable[[Path], PixelSource] = FilmPixels,
) -> Iterator[Study | Rejected]:
    """The studies of some tables, table by table, in the order of their first film.

    Args:
        tables: of films.
        root: the set's folder; the tables' paths are below it.
        policy: what doubt and silence count as.
        report_of: the report of a study by its first film.
        wanted: whether a film belongs to what is read.
        pixels_of: how a film's file is read.
    """
    for table in tables:
        studies: dict[str, list[FilmRow]] = {}
        for item in film_rows(table):
            if isinstance(item, Rejected):
                yield item
            elif wanted(item):
                studies.setdefault(item.study_id, []).append(item)
        for study_id, rows in studies.items():
            try:
                yield from _study(rows, root, policy, report_of(rows[0]), pixels_of)
            except StudyError as error:
                yield rejected(study_id, error)


def _study(
    rows: list[FilmRow], root: Path, policy: MarkPolicy, report: Report, pixels_of: Callable[[Path], PixelSource]
) -> Iterator[Study | Rejected]:
    """The study that some rows are the films of, after a rejection for each film whose file is not there."""
    first, marks = rows[0], _marks(rows)
    films: list[Film] = []
    for film_row in rows:
        path = root / film_row.path
        if is_file(path):
            films.append(Film(film_row.path, film_row.view, pixels_of(path)))
        else:
            yield Rejected(
                first.study_id,
                MissingFilmError.rule,
                "the film's file is not there.",
                str(path),
                film_row.row.number,
                film_row.path,
            )
    yield Study(
        study_id=first.study_id,
        patient_id=first.place.patient,
        films=tuple(films),
        report=report,
        labels=labels_of_marks(marks, policy),
        attributes=_attributes(rows) | attributes(**{UNCERTAIN: uncertain_classes(marks)}),
    )


def _attributes(rows: list[FilmRow]) -> dict[str, str]:
    first = rows[0]
    frontal = next((film_row.row for film_row in rows if film_row.view == "frontal"), first.row)
    return attributes(
        sex=sex_of(first.row["Sex"]),
        age=age_of(first.row["Age"]),
        view_position=frontal["AP/PA"],
        publisher_split=SPLITS[first.place.split],
        photo=first.place.kind,
    )


def _marks(rows: list[FilmRow]) -> dict[str, float | None]:
    """The marks of a study, the same on each of its rows.

    Raises:
        BadRowError: a row is malformed, a mark is none, or two rows have other marks.
    """
    for film_row in rows:
        check_row(film_row.row, "Path", film_row.table)
    marks = [marks_of(film_row.row.cells, film_row.table, film_row.row.number) for film_row in rows]
    for film_row, found in zip(rows, marks, strict=True):
        if found != marks[0]:
            raise BadRowError(
                f"the labels differ from those of row {rows[0].row.number}, another film of this study.",
                file=film_row.table,
                row=film_row.row.number,
            )
    return marks[0]
