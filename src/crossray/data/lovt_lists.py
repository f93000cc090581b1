"""The split lists that LoVT released, as a split list of ours (localized_evaluation spec, §5 and §5.6).

A data set has three of them, ``train.csv``, ``validation.csv`` and ``test.csv``, with the columns ``ID, boxes,
classes``, or ``ID`` alone where there are masks instead of boxes. Boxes are ``x;y;w;h`` in pixels of the original
film, joined by ``|``; classes are numbers joined by ``|``. Rows are shuffled once, and smaller fractions are the first
rows: the order counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossray.data.sources.tables import Row, read_table
from crossray.data.splits import SIDES, Fold, Side, SplitList
from crossray.errors import DataError

FILE_NAMES = ("train.csv", "validation.csv", "test.csv")


@dataclass(frozen=True)
class ListedFilm:
    """A row: the film's id without extension, its boxes ``(x, y, w, h)`` and the class of each box."""

    film_id: str
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    classes: tuple[int, ...] = ()


@dataclass(frozen=True)
class ListCounts:
    """What a list holds: films, films with a box, boxes, and boxes by class."""

    films: int
    positives: int
    boxes: int
    by_class: dict[int, int]


def read_lovt_list(path: Path, *, swapped: bool = False) -> tuple[ListedFilm, ...]:
    """The rows of one list, in their order.

    Args:
        path: a CSV with the column ``ID`` and, where the data set has boxes, ``boxes`` and ``classes``.
        swapped: the boxes are written ``x;y;h;w``: the defect of the Object CXR lists (§7, 1), undone here.

    Raises:
        DataError: it is no such table, an id is missing or stands there twice, or boxes and classes do not fit.
    """
    table = read_table(path, ("ID",))
    if "boxes" in table.columns:
        table.require(("classes",))
    films = tuple(_film(row, path, swapped) for row in table.rows)
    again = [name for name, count in Counter(film.film_id for film in films).items() if count > 1]
    if again:
        raise DataError(f"'{again[0]}' stands there twice.", file=path, field="ID")
    return films


def count_list(films: Sequence[ListedFilm]) -> ListCounts:
    """Films, positives and boxes of a list: the numbers of the table in §5."""
    by_class = Counter(number for film in films for number in film.classes)
    return ListCounts(
        films=len(films),
        positives=sum(bool(film.boxes) for film in films),
        boxes=sum(len(film.boxes) for film in films),
        by_class=dict(sorted(by_class.items())),
    )


def lovt_split(
    protocol: str,
    folder: Path,
    *,
    train_fraction: float = 1.0,
    validation_fraction: float = 1.0,
) -> SplitList:
    """The three lists of a folder as one fold named ``fixed``.

    Of a fraction f the first ``round(f N)`` rows are taken, as the release does: for the RSNA tasks the training list
    at 0.01, 0.1 or 1 and the validation list at 0.1. The test list is always whole.

    Args:
        protocol: the list's name, part of its hash.
        folder: holds ``train.csv``, ``validation.csv`` and ``test.csv``.
        train_fraction: in (0, 1].
        validation_fraction: in (0, 1].

    Raises:
        DataError: a list is missing or wrong, a fraction is out of range or leaves nothing, or a film stands on two
            sides.
    """
    missing = [name for name in FILE_NAMES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{', '.join(missing)} missing.",
            file=folder,
            remedy="Give a folder of LoVT's datasets/ with the three lists of one data set.",
        )
    ids = [tuple(film.film_id for film in read_lovt_list(folder / name)) for name in FILE_NAMES]
    _check_disjoint(ids, folder)
    train, validation = _first(ids[0], train_fraction, "train"), _first(ids[1], validation_fraction, "validation")
    notes = (
        f"The released lists of LoVT in '{folder.name}': {len(train)} of {len(ids[0])} training films, "
        f"{len(validation)} of {len(ids[1])} validation films, all {len(ids[2])} test films."
    )
    return SplitList(protocol, (Fold("fixed", train, validation, ids[2]),), notes)


def _first(ids: tuple[str, ...], fraction: float, side: Side) -> tuple[str, ...]:
    if not 0.0 < fraction <= 1.0:
        raise DataError(f"{fraction} of the {side} list is not a share in (0, 1].")
    kept = ids[: round(fraction * len(ids))]
    if not kept:
        raise DataError(f"{fraction} of the {len(ids)} films of the {side} list is none.")
    return kept


def _check_disjoint(ids: Sequence[Sequence[str]], folder: Path) -> None:
    side_of: dict[str, Side] = {}
    for side, listed in zip(SIDES, ids, strict=True):
        for film_id in listed:
            first = side_of.setdefault(film_id, side)
            if first != side:
                raise DataError(f"film '{film_id}' stands in the lists of {first} and {side}.", file=folder)


def _film(row: Row, path: Path, swapped: bool) -> ListedFilm:
    if row.malformed or not row["ID"]:
        raise DataError(row.malformed or "the id is empty.", file=path, row=row.number, field="ID")
    boxes = tuple(_box(written, row, path, swapped) for written in row["boxes"].split("|") if written)
    classes = tuple(_class(written, row, path) for written in row["classes"].split("|") if written)
    if len(boxes) != len(classes):
        raise DataError(f"{len(boxes)} boxes, but {len(classes)} classes.", file=path, row=row.number, field="classes")
    return ListedFilm(row["ID"], boxes, classes)


def _box(written: str, row: Row, path: Path, swapped: bool) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(number) for number in written.split(";"))
    except ValueError:
        raise DataError(f"'{written}' is not x;y;w;h.", file=path, row=row.number, field="boxes") from None
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        raise DataError(f"the box '{written}' has no area.", file=path, row=row.number, field="boxes")
    return (x, y, height, width) if swapped else (x, y, width, height)


def _class(written: str, row: Row, path: Path) -> int:
    if not written.isdecimal():
        raise DataError(f"'{written}' is not the number of a class.", file=path, row=row.number, field="classes")
    return int(written)
