"""Tasks that take turns with a method's main objective, and the order in which an epoch goes through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.data.randomness import Purpose, derived_generator
from crossray.errors import ConfigError


@dataclass(frozen=True)
class AuxiliaryTask:
    """A task that is drawn with probability ``share`` at each step (JoImTeRNet's masked language modelling: 0.7).

    ``needs_films`` off leaves the films of its batches unread (``PairBatch.pixels`` is then ``[B, 1, 0, 0]``).
    """

    name: str
    share: float
    needs_films: bool = True


@dataclass(frozen=True)
class EpochPlan:
    """Whose turn each of an epoch's S steps is, and which batch of its own.

    Attributes:
        turns: ``[S]``; 0 the main objective, k the k-th auxiliary task.
        batches: ``[S]``; how many batches of the same task the epoch has had before.
    """

    turns: NDArray[np.int64]
    batches: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.turns)


def plan_epoch(tasks: Sequence[AuxiliaryTask], main_batches: int, *, seed: int, epoch: int) -> EpochPlan:
    """The plan of an epoch, which ends with the last of its ``main_batches``; it depends on (seed, epoch) only.

    Raises:
        ConfigError: the tasks leave no turn to the main objective.
    """
    if not tasks:
        return EpochPlan(np.zeros(main_batches, dtype=np.int64), np.arange(main_batches))
    main_share = 1.0 - sum(task.share for task in tasks)
    if main_share <= 1e-9 or any(task.share <= 0.0 for task in tasks):
        shares = ", ".join(f"{task.name} {task.share}" for task in tasks)
        raise ConfigError(f"shares of auxiliary tasks must be above 0 and below 1 together, got {shares}.")
    generator = derived_generator(seed, epoch, Purpose.TASK)
    bounds = np.cumsum([main_share, *(task.share for task in tasks)])[:-1]
    turns = np.zeros(0, dtype=np.int64)
    while np.count_nonzero(turns == 0) < main_batches:
        # The next numbers of one stream: however many are drawn at a time, step k has its k-th number.
        drawn = generator.random(64 + int(main_batches / main_share))
        turns = np.concatenate([turns, np.searchsorted(bounds, drawn, side="right")])
    turns = turns[: np.flatnonzero(turns == 0)[main_batches - 1] + 1]
    batches = np.zeros_like(turns)
    for turn in range(len(tasks) + 1):
        own = turns == turn
        batches[own] = np.arange(np.count_nonzero(own))
    return EpochPlan(turns, batches)
