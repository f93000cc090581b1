"""Films as the protocols give them to a trunk: padded squares of 224 pixels, by the training side's mean and std.

Spec: ``localized_evaluation``, sections 2 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crossray.data.augment import AugmentationConfig, ImageInputConfig, evaluation_view, training_view
from crossray.data.store import Store
from crossray.evaluation.localized.films import Rows

_CHUNK = 256
_SMALLEST_STD = 1e-6  # films of one single grey level have none


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of grey values in [0, 1]."""

    mean: float
    std: float


HALF = Normalisation(0.5, 0.5)
FIXED = {"half": HALF, "benchx": Normalisation(0.4978, 0.2449)}
"""By a protocol's ``normalisation``; the others are measured."""


def measured_normalisation(store: Store, rows: Rows) -> Normalisation:
    """Mean of the films' means; variance = mean of their variances + variance of their means.

    Only the film counts, not what pads it to a square: the definition is of images before padding. They have the
    store's size here and not that of the files, which takes a little from the variance.
    """
    means, variances = [], []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        for row, square in zip(chunk.tolist(), store.pixels(chunk), strict=True):
            x0, y0, x1, y1 = store.film(row).geometry.content_box()
            values = square[y0:y1, x0:x1] / 255.0
            means.append(values.mean())
            variances.append(values.var())
    return Normalisation(float(np.mean(means)), float(np.sqrt(np.mean(variances) + np.var(means))))


class FilmPixels:
    """Rows of a store to normalised films ``[n, 1, size, size]``; a larger store's films are brought to ``size``.

    Attributes:
        key: two with the same key give the same films, unless these are varied.
        varies: whether :meth:`varied` films are other ones.
    """

    def __init__(
        self, store: Store, size: int, normalisation: Normalisation, augmentation: AugmentationConfig | None = None
    ) -> None:
        self._store = store
        std = max(normalisation.std, _SMALLEST_STD)
        self._view = ImageInputConfig(size=size, resize=size, mean=normalisation.mean, std=std)
        self.size = size
        self.key = (store.hash, size, normalisation.mean, std)
        self.varies = augmentation is not None
        # Crops are cut from the film as the store holds it, so that a small one keeps its detail.
        self._varied = self._view.model_copy(
            update={"resize": None, "augmentation": augmentation or AugmentationConfig()}
        )

    def __call__(self, rows: Rows) -> Tensor:
        """Read, resize and normalise films."""
        return evaluation_view(torch.from_numpy(self._store.pixels(rows)), self._view)

    def varied(self, rows: Rows, seed: int, epoch: int) -> Tensor:
        """The same films as an epoch of training sees them; a film's crop and flip come from (seed, epoch, row)."""
        return training_view(torch.from_numpy(self._store.pixels(rows)), rows, self._varied, seed=seed, epoch=epoch)
