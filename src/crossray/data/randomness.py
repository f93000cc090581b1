"""Randomness that is looked up, not drawn: a number depends on (seed, epoch, purpose, sample) and on nothing else.

So a sample meets the same augmentation whichever process, worker or micro-batch it falls into, and after a kill and
a resume. The generator is Philox, which is counter-based: any place of its stream can be read directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """What a number is for: streams of different purposes are independent."""

    ORDER = 0
    AUGMENTATION = 1
    FILM = 2
    SENTENCE = 3
    STEP = 4
    TASK = 5
    SECOND_VIEW = 6
    SENTENCE_ORDER = 7


def derived_generator(seed: int, epoch: int, purpose: Purpose, sample: int = 0) -> np.random.Generator:
    """The generator of one sample (or of the whole epoch, for its order)."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, int(purpose), sample]))


def derived_uniforms(
    seed: int, epoch: int, purpose: Purpose, samples: Sequence[int] | NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """``[n, count]`` numbers in [0, 1): row i belongs to ``samples[i]`` whatever the other samples are."""
    rows = [derived_generator(seed, epoch, purpose, int(sample)).random(count) for sample in samples]
    return np.stack(rows) if rows else np.zeros((0, count))


def derived_choice(seed: int, epoch: int, purpose: Purpose, sample: int, count: int) -> int:
    """One of ``0 .. count - 1`` for a sample, each as likely as the others."""
    return int(derived_generator(seed, epoch, purpose, sample).integers(count))


def derived_seed(seed: int, step: int, rank: int) -> int:
    """A 32-bit seed for the global generators (dropout) of one step of one process."""
    return int(derived_generator(seed, step, Purpose.STEP, rank).integers(2**32))
