"""The per-image Dice of GLoRIA and MGCA as a validation metric, and the training films that MGCA chooses for it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from crossray.evaluation.localized.films import Rows
from crossray.evaluation.localized.truth import Masks
from crossray.evaluation.metrics import macro_mean
from crossray.evaluation.segmentation.counts import CountsAccumulator
from crossray.evaluation.segmentation.scores import empty_is_one_dice

_SEED = 0
_INSIDE = 255


class EmptyIsOneScorer:
    """Mean over films, an empty mask called empty being 1 and called anything 0; the mean of its classes.

    Spec: ``downstream_protocols``, section 5. It rewards predicting nothing: see ``docs/metrics.md``.
    """

    def __init__(self) -> None:
        self._counts = CountsAccumulator()

    def add(self, predicted: Tensor, truth: Tensor) -> None:
        """Probabilities and masks ``[b, K, height, width]``."""
        self._counts.add(predicted.numpy(), truth.numpy())

    def value(self) -> float:
        """Mean over films, then over classes."""
        return float(macro_mean(empty_is_one_dice(self._counts.counts()))[0])


def positive_films(masks: Masks, rows: Rows) -> Tensor:
    """``[n, K]`` whether a film has a pixel inside its mask."""
    found = [_any_inside(masks(rows[place : place + 1])) for place in range(len(rows))]
    return torch.cat(found)


def balanced_films(masks: Masks, rows: Rows) -> Rows:
    """All films with a mask and as many without, drawn by a fixed seed, in their order.

    So MGCA and GLoRIA train on SIIM-ACR (``downstream_protocols``, section 5).
    """
    positive = positive_films(masks, rows).any(dim=1).numpy()
    negative = np.flatnonzero(~positive)
    chosen = np.random.default_rng(_SEED).permutation(negative)[: int(positive.sum())]
    kept: Rows = rows[np.sort(np.concatenate([np.flatnonzero(positive), chosen]))]
    return kept


def _any_inside(masks: Tensor) -> Tensor:
    return ((masks == 1) | (masks == _INSIDE)).flatten(2).any(dim=2)
