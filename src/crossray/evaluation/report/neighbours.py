"""A dozen films with their own reports and the nearest ones that retrieval found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.data.store import Store
from crossray.evaluation.cells import Arrays
from crossray.evaluation.cohort import Part
from crossray.evaluation.report.pictures import Picture, film_picture
from crossray.evaluation.summary import FoldRanks

NEAREST_SHOWN = 3


@dataclass(frozen=True)
class Retrieved:
    """One retrieved report; ``own`` if it is the film's own or reads exactly like it."""

    place: int
    text: str
    own: bool


@dataclass(frozen=True)
class Neighbours:
    """A film, its own report, where that stands, and the nearest distinct reports."""

    study_id: str
    picture: Picture
    labels: tuple[str, ...]
    report: str
    rank: str
    gallery: int
    retrieved: tuple[Retrieved, ...]


def nearest_reports(
    store: Store, part: Part, label_names: tuple[str, ...], cell: Arrays, ranks: FoldRanks, rows: NDArray[np.int64]
) -> list[Neighbours]:
    """What retrieval found for some rows of a test part.

    Args:
        store: where the films are.
        part: the test part that the cell was made of.
        label_names: names of ``part.labels``' columns.
        cell: a retrieval cell.
        ranks: its direction film → distinct report texts.
        rows: rows of the part to show.
    """
    own_ranks = ranks.counts.ranks()
    return [
        Neighbours(
            study_id=part.study_ids[row],
            picture=picture_of(store, int(part.films[row])),
            labels=labels_of(part, row, label_names),
            report=part.texts[row].text,
            rank=f"{own_ranks[row]:g}",
            gallery=ranks.counts.gallery,
            retrieved=tuple(
                Retrieved(place, part.texts[found].text, bool(part.text_groups[found] == part.text_groups[row]))
                for place, found in enumerate(cell["nearest"][row, :NEAREST_SHOWN].tolist(), start=1)
            ),
        )
        for row in rows.tolist()
    ]


def drawn_rows(part: Part, label_names: tuple[str, ...], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows drawn at random, two thirds of them with at least one labelled finding where there are so many.

    Drawn rather than picked: the report must not show the films on which the model happens to shine.
    """
    order = np.random.default_rng(seed).permutation(len(part))
    findings = [name != "No Finding" for name in label_names]
    positives = (part.labels[:, findings] > 0.5).sum(axis=1)[order]
    with_finding, without = order[positives > 0], order[positives == 0]
    first = with_finding[: max(count - len(without), (2 * count) // 3)]
    chosen: NDArray[np.int64] = np.concatenate([first, without[: count - len(first)]]).astype(np.int64)
    return chosen


def labels_of(part: Part, row: int, label_names: tuple[str, ...]) -> tuple[str, ...]:
    """The labels that are present in a row of a part."""
    return tuple(name for name, value in zip(label_names, part.labels[row], strict=True) if value > 0.5)


def picture_of(store: Store, film: int, *, longest: int | None = None) -> Picture:
    """A film of a store; ``longest`` as for :func:`film_picture`."""
    return film_picture(store.pixels([film])[0], store.film(film).geometry, longest=longest)
