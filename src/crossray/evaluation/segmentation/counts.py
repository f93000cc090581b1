"""Pixel counts of binary masks, image by image: what every score and every bootstrap draw is made from.

Counts are kept for each image and class, and masks are let go: a split of 5,000 films at 224 x 224 is 250 million
pixels, its counts are 20,000 numbers. Since nothing is averaged here, batches of any size give the same counts.
Spec: `localized_evaluation.md`, section 4; `downstream_protocols.md`, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.errors import DataError

IntArray = NDArray[np.int64]

#: Pixels of this value are neither inside nor outside: nobody may score there.
IGNORED = 127

#: A pixel is called from this probability upwards, itself included.
THRESHOLD = 0.5


@dataclass(frozen=True)
class MaskCounts:
    """Pixels of n images and K classes, each ``[n, K]``; ignored pixels are in none of them."""

    true_positive: IntArray
    false_positive: IntArray
    false_negative: IntArray
    true_negative: IntArray

    def __len__(self) -> int:
        return len(self.true_positive)

    @property
    def positive(self) -> IntArray:
        """``[n, K]`` pixels inside the true mask."""
        return self.true_positive + self.false_negative

    @property
    def negative(self) -> IntArray:
        """``[n, K]`` pixels outside it."""
        return self.false_positive + self.true_negative

    def all_empty(self) -> MaskCounts:
        """What a model that never calls a pixel would have: the baseline that every table needs."""
        nothing = np.zeros_like(self.positive)
        return MaskCounts(nothing, nothing, self.positive, self.negative)

    def all_positive(self) -> MaskCounts:
        """What a model that calls every pixel would have."""
        nothing = np.zeros_like(self.positive)
        return MaskCounts(self.positive, self.negative, nothing, nothing)


def mask_counts(
    probabilities: NDArray[np.floating] | NDArray[np.bool_],
    masks: NDArray[np.uint8] | NDArray[np.bool_],
    threshold: float = THRESHOLD,
) -> MaskCounts:
    """Counts of one batch.

    Args:
        probabilities: ``[n, K, H, W]`` from 0 to 1, or masks that are called already.
        masks: ``[n, K, H, W]``: 0 outside, 1 or 255 (or True) inside, 127 ignored.
        threshold: a pixel is called where its probability is at least this.

    Raises:
        DataError: a mask holds another value, as one does that was resized with smoothing.
        ValueError: shapes differ, or a probability is NaN.
    """
    if probabilities.shape != masks.shape or probabilities.ndim != 4:
        raise ValueError(f"probabilities {probabilities.shape} and masks {masks.shape} must both be [n, K, H, W]")
    if np.isnan(probabilities).any():
        raise ValueError("a pixel's probability is NaN")
    inside, outside = (masks == 1) | (masks == 255), masks == 0
    strange = ~(inside | outside | (masks == IGNORED))
    if strange.any():
        raise DataError(
            f"a mask holds the value {masks[strange][0]}; masks are 0, 1 or 255, and 127 where they do not know.",
            remedy="Resize masks to the nearest pixel, never with smoothing.",
        )
    called = probabilities >= threshold
    return MaskCounts(
        _pixels(called & inside), _pixels(called & outside), _pixels(~called & inside), _pixels(~called & outside)
    )


class CountsAccumulator:
    """Counts over batches; the masks themselves need not be held."""

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self._threshold = threshold
        self._parts: list[MaskCounts] = []

    def add(
        self, probabilities: NDArray[np.floating] | NDArray[np.bool_], masks: NDArray[np.uint8] | NDArray[np.bool_]
    ) -> None:
        """Count one batch of any size; arguments and errors as for :func:`mask_counts`."""
        self._parts.append(mask_counts(probabilities, masks, self._threshold))

    def counts(self) -> MaskCounts:
        """The counts of everything added, in its order.

        Raises:
            ValueError: nothing was added.
        """
        if not self._parts:
            raise ValueError("no batch was counted")
        return joined(self._parts)


def joined(parts: Sequence[MaskCounts]) -> MaskCounts:
    """Counts of several parts (batches, folds) as one, in their order."""
    return MaskCounts(
        true_positive=np.concatenate([part.true_positive for part in parts]),
        false_positive=np.concatenate([part.false_positive for part in parts]),
        false_negative=np.concatenate([part.false_negative for part in parts]),
        true_negative=np.concatenate([part.true_negative for part in parts]),
    )


def _pixels(where: NDArray[np.bool_]) -> IntArray:
    counted: IntArray = np.count_nonzero(where, axis=(2, 3)).astype(np.int64)
    return counted
