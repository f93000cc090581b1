"""Random draws of the phantom: one stream for each purpose, keyed by numbers, never by order of use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


class Stream(IntEnum):
    """What a stream of random numbers is for: streams of one study do not disturb each other."""

    PATIENTS = 1
    ANATOMY = 2
    CASE = 3
    FILM = 4
    NOISE = 5
    TEXT = 6


class Draws:
    """A stream keyed by ``(seed, stream, numbers)``.

    Only :meth:`numpy.random.Generator.random` is used for decisions: its doubles come straight from the PCG64
    bits, so cases and reports do not change with numpy's sampling algorithms.
    """

    def __init__(self, seed: int, stream: Stream, *numbers: int) -> None:
        self.generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(stream), *numbers])))

    def unit(self) -> float:
        """A number in [0, 1)."""
        return float(self.generator.random())

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.unit()

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.unit() < probability

    def choice(self, items: Sequence[Item]) -> Item:
        """One item, each equally likely."""
        return items[int(self.unit() * len(items))]

    def weighted(self, weights: Mapping[Item, float]) -> Item:
        """One key, in proportion to its weight."""
        mark = self.unit() * sum(weights.values())
        for item, weight in weights.items():
            mark -= weight
            if mark < 0:
                return item
        return next(reversed(list(weights)))
