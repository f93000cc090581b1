"""What is true of films, in pixels of the film that the trunk is given: masks, boxes, labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossray.data.resample import nearest_indices
from crossray.data.store import PreparedFilm, Store
from crossray.errors import DataError
from crossray.evaluation.heads.boxes import BoxTargets
from crossray.evaluation.localized.films import Rows
from crossray.evaluation.segmentation.counts import IGNORED

_INSIDE = 255


class Masks:
    """Masks of films, held as bits: 27,000 films of 224 pixels are 170 MB.

    Args:
        store: where they are.
        rows: of the films.
        names: one a class. A film that has no mask of a name has an empty one.
        size: side of the squares.

    Raises:
        DataError: no film has a mask of a name.
    """

    def __init__(self, store: Store, rows: Rows, names: Sequence[str], size: int) -> None:
        self._place = {int(row): place for place, row in enumerate(np.unique(rows))}
        self._shape = (len(names), size, size)
        width = -(-size * size * len(names) // 8)
        self._inside = np.zeros((len(self._place), width), dtype=np.uint8)
        self._unknown = np.zeros((0, width), dtype=np.uint8)
        found: set[str] = set()
        for row, place in self._place.items():
            present = [name for name in names if name in store.film(row).mask_names]
            found.update(present)
            values = np.stack([_mask(store, row, name, size) if name in present else _empty(size) for name in names])
            self._inside[place] = np.packbits(values == _INSIDE)
            if (values == IGNORED).any():
                if not len(self._unknown):
                    self._unknown = np.zeros_like(self._inside)
                self._unknown[place] = np.packbits(values == IGNORED)
        missing = [name for name in names if name not in found]
        if missing and not found:
            raise DataError(f"no film has a mask '{missing[0]}'.", file=store.path, remedy=_known_masks(store))

    def __call__(self, rows: Rows) -> Tensor:
        """``[n, K, size, size]``: boolean, or bytes (0, 255, 127 unknown) where any mask of the set has such pixels."""
        places = [self._place[int(row)] for row in rows]
        inside = self._unpacked(self._inside[places])
        if not len(self._unknown):
            return torch.from_numpy(inside)
        values = np.where(inside, _INSIDE, 0).astype(np.uint8)
        values[self._unpacked(self._unknown[places])] = IGNORED
        return torch.from_numpy(values)

    def _unpacked(self, bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
        flat = np.unpackbits(bits, axis=1, count=int(np.prod(self._shape)))
        return flat.view(np.bool_).reshape(len(bits), *self._shape)


class Boxes:
    """Boxes of films, of the classes ``labels``, cut at the film's edge; one that lies beyond it is none.

    Raises:
        DataError: no film has a box of a label.
    """

    def __init__(self, store: Store, rows: Rows, labels: Sequence[str], size: int) -> None:
        unique = np.unique(rows)
        self._place = {int(row): place for place, row in enumerate(unique)}
        films = [store.film(int(row)) for row in unique]
        found = [_boxes(film, labels, size / store.prepared_size) for film in films]
        self._targets = BoxTargets.of_films([each[0] for each in found], [each[1] for each in found])
        if not len(self._targets.boxes):
            raise DataError(f"no film has a box labelled {', '.join(labels)}.", file=store.path)

    def __call__(self, rows: Rows) -> BoxTargets:
        """The boxes of some films (distinct rows)."""
        return self._targets[torch.tensor([self._place[int(row)] for row in rows], dtype=torch.long)]


class Labels:
    """Labels of films' studies.

    Raises:
        DataError: the store has no such label.
    """

    def __init__(self, store: Store, rows: Rows, names: Sequence[str]) -> None:
        missing = [name for name in names if name not in store.label_names]
        if missing:
            known = ", ".join(store.label_names) or "none"
            raise DataError(f"the store has no label '{missing[0]}'.", file=store.path, remedy=f"Its labels: {known}.")
        columns = [store.label_names.index(name) for name in names]
        self._of_row = {int(row): store.labels[store.film(int(row)).study_index, columns] for row in np.unique(rows)}

    def __call__(self, rows: Rows) -> Tensor:
        """``[n, K]`` float32, NaN unknown."""
        return torch.from_numpy(np.stack([self._of_row[int(row)] for row in rows]))


def _mask(store: Store, row: int, name: str, size: int) -> NDArray[np.uint8]:
    mask = store.mask(row, name)
    chosen = nearest_indices(store.prepared_size, size)
    return mask[np.ix_(chosen, chosen)]


def _empty(size: int) -> NDArray[np.uint8]:
    return np.zeros((size, size), dtype=np.uint8)


def _known_masks(store: Store) -> str:
    names = sorted({name for row in range(store.film_count) for name in store.film(row).mask_names})
    return f"Its masks: {', '.join(names) or 'none'}."


def _boxes(film: PreparedFilm, labels: Sequence[str], scale: float) -> tuple[Tensor, Tensor]:
    """``[k, 4]`` left, top, width, height, and ``[k]`` classes."""
    own = [box for box in film.boxes if box.label in labels]
    cut = [box for box in (film.geometry.clip_to_film(box) for box in own) if box is not None]
    corners = [(box.x_min, box.y_min, box.x_max, box.y_max) for box in film.geometry.boxes_to_prepared(cut)]
    edges = torch.tensor(corners, dtype=torch.float64).reshape(-1, 4) * scale
    boxes = torch.cat([edges[:, :2], edges[:, 2:] - edges[:, :2]], dim=1).float()
    return boxes, torch.tensor([labels.index(box.label) for box in cut], dtype=torch.long)
