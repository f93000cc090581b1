"""An order of the pairs that goes through a store block by block, so that little of it is read at a time.

A *block* is a run of films that lie together in a store (``store_writer.FILMS_PER_BLOCK``, 64). A permutation of all
pairs meets any block in any batch; in this order few are met at a time, so that each can be fetched once an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossray.settings import Settings


class BlockOrderConfig(Settings):
    """How pairs of different blocks are mixed.

    Attributes:
        lanes: so many places of the store are read at once, each for an equal part of every batch. Processes take
            lanes of their own, so lanes should be a multiple of their number; ``training.batch_size`` must be one of
            the lanes.
        shuffle: a pair is met at most this many pairs of its lane before or after its place in the lane.
    """

    lanes: int = Field(default=8, ge=1)
    shuffle: int = Field(default=1024, ge=0)


@dataclass(frozen=True)
class BlockOrder:
    """The order for pairs that lie in given blocks.

    Attributes:
        config: how they are mixed.
        blocks: ``[n]`` number of the block in which each pair's film lies.
    """

    config: BlockOrderConfig
    blocks: NDArray[np.int64]

    def permutation(self, steps: int, batch_size: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """``[steps * batch_size]`` places for so many batches; at most as many as there are pairs, each once.

        Blocks are permuted, the pairs in them cut into lanes of equal length, and in each lane every pair moved by a
        random way. Batch k has the k-th part of each lane, lane after lane: the same whoever loads which rows of it.
        """
        _, numbers = np.unique(self.blocks, return_inverse=True)
        lanes, length = self.config.lanes, steps * (batch_size // self.config.lanes)
        moved_blocks = generator.permutation(int(numbers.max()) + 1)
        in_lanes = np.argsort(moved_blocks[numbers], kind="stable")[: lanes * length].reshape(lanes, length)
        keys = np.arange(length) + self.config.shuffle * generator.random((lanes, length))
        mixed = np.take_along_axis(in_lanes, np.argsort(keys, axis=1, kind="stable"), axis=1)
        order: NDArray[np.int64] = mixed.reshape(lanes, steps, -1).swapaxes(0, 1).reshape(-1).astype(np.int64)
        return order

    @property
    def blocks_at_hand(self) -> int:
        """Blocks that must be kept for no block to be read twice in an epoch (those where lanes meet excepted).

        Between the first and the last pair of a block, a lane meets pairs of twice ``shuffle`` places.
        """
        there = len(np.unique(self.blocks))
        a_lane = 4 + round(2 * self.config.shuffle * there / len(self.blocks))
        return min(there, self.config.lanes * a_lane)
