"""Boxes of a batch as flat tensors: what a detector is taught, and what it says.

One row a box and the film it belongs to, so that nothing loops over films.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossray.errors import DataError


@dataclass(frozen=True)
class BoxTargets:
    """True boxes of ``films`` films, in pixels of the film that the trunk is given.

    Attributes:
        boxes: ``[n, 4]`` left, top, width, height.
        classes: ``[n]`` from 0.
        film: ``[n]`` the place of each box's film, 0 to ``films - 1``.
        films: how many there are, with those that have no box.
    """

    boxes: Tensor
    classes: Tensor
    film: Tensor
    films: int

    @classmethod
    def of_films(cls, boxes: Sequence[Tensor], classes: Sequence[Tensor]) -> BoxTargets:
        """From one ``[k, 4]`` and one ``[k]`` a film.

        Raises:
            DataError: a box has no width or no height, or there is not one class a box.
        """
        counts = [len(each) for each in boxes]
        if counts != [len(each) for each in classes]:
            raise DataError("every box needs one class.", field="classes")
        film = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.long))
        every = torch.cat([torch.zeros(0, 4), *(each.reshape(-1, 4).float() for each in boxes)])
        empty = (every[:, 2:] <= 0).any(dim=1).nonzero().flatten()
        if len(empty):
            where = int(empty[0])
            raise DataError(
                f"a box has no area (left, top, width, height = {every[where].tolist()}).",
                row=int(film[where]),
                field="boxes",
                remedy="Leave it out, or clip boxes to the film before this.",
            )
        return cls(every, torch.cat([torch.zeros(0), *classes]).long(), film, len(counts))

    def __len__(self) -> int:
        return self.films

    def __getitem__(self, films: Tensor) -> BoxTargets:
        """The boxes of some films (distinct places ``[b]``), numbered by their place in ``films``."""
        renumbered = torch.full((self.films,), -1, dtype=torch.long)
        renumbered[films] = torch.arange(len(films))
        film = renumbered[self.film]
        kept = film >= 0
        return BoxTargets(self.boxes[kept], self.classes[kept], film[kept], len(films))


@dataclass(frozen=True)
class Detections:
    """Boxes that a detector found in ``films`` films.

    Attributes:
        boxes: ``[n, 4]`` left, top, right, bottom, in pixels of the film that the trunk was given.
        scores: ``[n]`` confidence that there is an object; it alone ranks.
        classes: ``[n]`` the likeliest class.
        film: ``[n]`` the place of each box's film.
        films: how many films were looked at.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    film: Tensor
    films: int

    def __len__(self) -> int:
        return self.films


def joined_detections(batches: Sequence[Detections]) -> Detections:
    """Batches one after another, films numbered on."""
    starts = [0]
    for batch in batches:
        starts.append(starts[-1] + batch.films)
    return Detections(
        boxes=torch.cat([torch.zeros(0, 4), *(batch.boxes for batch in batches)]),
        scores=torch.cat([torch.zeros(0), *(batch.scores for batch in batches)]),
        classes=torch.cat([torch.zeros(0), *(batch.classes for batch in batches)]).long(),
        film=torch.cat([torch.zeros(0), *(b.film + start for b, start in zip(batches, starts, strict=False))]).long(),
        films=starts[-1],
    )


def joined_targets(batches: Sequence[BoxTargets]) -> BoxTargets:
    """Batches one after another, films numbered on."""
    starts = [0]
    for batch in batches:
        starts.append(starts[-1] + batch.films)
    return BoxTargets(
        boxes=torch.cat([torch.zeros(0, 4), *(batch.boxes for batch in batches)]),
        classes=torch.cat([torch.zeros(0), *(batch.classes for batch in batches)]).long(),
        film=torch.cat([torch.zeros(0), *(b.film + start for b, start in zip(batches, starts, strict=False))]).long(),
        films=starts[-1],
    )
