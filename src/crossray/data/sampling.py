"""In which order an epoch goes through the pairs; it depends on (seed, epoch) only.

The sampler asks for whole *global* batches and names the rows that this process is to load, so any number of
processes sees the same batches, padded to the same length, and a resumed run goes on in the middle of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from crossray.data.block_order import BlockOrder
from crossray.data.randomness import Purpose, derived_generator
from crossray.data.tasks import AuxiliaryTask, plan_epoch


@dataclass(frozen=True)
class BatchRequest:
    """A global batch, and which of its rows to load: places in the data set, ``rows`` a slice of them.

    ``task`` is the auxiliary task that the batch is for, ``None`` the main objective.
    """

    epoch: int
    places: NDArray[np.int64]
    rows: slice
    task: AuxiliaryTask | None = None


class GlobalBatchSampler(Sampler[BatchRequest]):
    """Global batches of one epoch, from step ``start`` on; each process asks for its own rows of them.

    In training the order is a permutation drawn from (seed, epoch), of all pairs or, with ``order``, block by block,
    and the last, smaller batch is dropped; auxiliary ``tasks`` take their turns, each with permutations of its own that
    begin anew when they are through. In evaluation the order is that of the split, nothing is dropped, and a process
    takes every ``world``-th batch whole.
    """

    def __init__(
        self,
        pairs: int,
        batch_size: int,
        *,
        training: bool,
        tasks: Sequence[AuxiliaryTask] = (),
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        order: BlockOrder | None = None,
    ) -> None:
        self._pairs, self._size, self._training = pairs, batch_size, training
        self._tasks, self._plan = tasks, plan_epoch(tasks, pairs // batch_size, seed=seed, epoch=epoch)
        self._seed, self._epoch, self._start = seed, epoch, start
        self._rank, self._world = rank, world
        self._order = order

    def __len__(self) -> int:
        return len(self._evaluated()) if not self._training else max(0, len(self._plan) - self._start)

    def __iter__(self) -> Iterator[BatchRequest]:
        return self._training_requests() if self._training else self._evaluation_requests()

    def _training_requests(self) -> Iterator[BatchRequest]:
        own = self._size // self._world
        rows = slice(self._rank * own, (self._rank + 1) * own)
        orders: dict[int, NDArray[np.integer]] = {}
        for step in range(self._start, len(self._plan)):
            turn, batch = int(self._plan.turns[step]), int(self._plan.batches[step])
            through, number = divmod(batch, self._pairs // self._size)
            if turn not in orders or number == 0:
                orders[turn] = self._permutation(turn, through)
            places = orders[turn][number * self._size : (number + 1) * self._size].astype(np.int64)
            yield BatchRequest(self._epoch, places, rows, self._tasks[turn - 1] if turn else None)

    def _permutation(self, turn: int, through: int) -> NDArray[np.integer]:
        """The order of a task's pairs, the ``through``-th time in this epoch, in the narrowest type that holds it."""
        key = through * (len(self._tasks) + 1) + turn
        generator = derived_generator(self._seed, self._epoch, Purpose.ORDER, key)
        if self._order is not None:
            return self._order.permutation(self._pairs // self._size, self._size, generator)
        order: NDArray[np.integer] = np.arange(self._pairs, dtype=np.int32 if self._pairs <= 2**31 else np.int64)
        generator.shuffle(order)  # draws what generator.permutation would, and needs no second array
        return order

    def _evaluation_requests(self) -> Iterator[BatchRequest]:
        for number in self._evaluated():
            end = min(self._pairs, (number + 1) * self._size)
            yield BatchRequest(self._epoch, np.arange(number * self._size, end, dtype=np.int64), slice(None))

    def _evaluated(self) -> range:
        return range(self._rank, -(-self._pairs // self._size), self._world)
