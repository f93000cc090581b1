from __future__ import annotations

import numpy as np
import pytest

from crossray.data.block_order import BlockOrder, BlockOrderConfig
from crossray.data.sampling import BatchRequest, GlobalBatchSampler

PAIRS, BATCH = 1000, 16


def block_order(lanes: int = 4, shuffle: int = 64, pairs: int = PAIRS) -> BlockOrder:
    """Blocks of twenty pairs."""
    return BlockOrder(BlockOrderConfig(lanes=lanes, shuffle=shuffle), np.arange(pairs) // 20)


def requests(order: BlockOrder, epoch: int = 0, rank: int = 0, world: int = 1, start: int = 0) -> list[BatchRequest]:
    return list(
        GlobalBatchSampler(
            PAIRS, BATCH, training=True, seed=3, epoch=epoch, rank=rank, world=world, start=start, order=order
        )
    )


def test_an_epoch_has_as_many_batches_as_any_other_order_and_each_pair_at_most_once() -> None:
    found = np.concatenate([request.places for request in requests(block_order())])
    assert len(found) == PAIRS // BATCH * BATCH
    assert len(np.unique(found)) == len(found)
    assert set(found.tolist()) <= set(range(PAIRS))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    order = block_order()
    first, again, later = (np.stack([r.places for r in requests(order, epoch)]) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, later)
    for world in (2, 4):
        ranks = [[r.places[r.rows] for r in requests(order, rank=rank, world=world)] for rank in range(world)]
        together = np.stack([np.concatenate(parts) for parts in zip(*ranks, strict=True)])
        assert np.array_equal(together, first)
    resumed = requests(order, start=30, rank=1, world=2)
    assert np.array_equal(np.stack([r.places for r in resumed]), first[30:])


@pytest.mark.parametrize("shuffle", [0, 10, 64, 400])
def test_a_block_is_met_in_one_stretch_of_its_lane(shuffle: int) -> None:
    order = block_order(lanes=2, shuffle=shuffle)
    steps = PAIRS // BATCH
    places = order.permutation(steps, BATCH, np.random.default_rng(0)).reshape(steps, 2, BATCH // 2)
    for lane in places.swapaxes(0, 1).reshape(2, -1):
        blocks = order.blocks[lane]
        for block in np.unique(blocks):
            at = np.flatnonzero(blocks == block)
            assert at[-1] - at[0] <= 2 * shuffle + 20


def test_without_shuffling_a_lane_reads_its_blocks_one_after_another() -> None:
    order = block_order(lanes=1, shuffle=0)
    blocks = order.blocks[order.permutation(62, 16, np.random.default_rng(1))]
    assert np.count_nonzero(np.diff(blocks)) == len(np.unique(blocks)) - 1
    assert not np.array_equal(blocks, np.sort(blocks))


def test_shuffling_mixes_pairs_of_many_blocks_in_a_batch() -> None:
    order = block_order(lanes=4, shuffle=100)
    batches = order.permutation(62, 16, np.random.default_rng(1)).reshape(62, 16)
    met = [len(np.unique(order.blocks[batch])) for batch in batches]
    assert np.mean(met) > 10


@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_processes_take_lanes_of_their_own_and_share_few_blocks(lanes: int) -> None:
    order = block_order(lanes=lanes)
    mine, theirs = (
        {block for r in requests(order, rank=rank, world=2) for block in order.blocks[r.places[r.rows]].tolist()}
        for rank in range(2)
    )
    shared = mine & theirs
    assert len(shared) <= 1 if lanes > 1 else len(shared) > 25


@pytest.mark.parametrize(("lanes", "shuffle"), [(1, 0), (4, 64), (2, 300), (8, 16)])
def test_so_many_blocks_at_hand_as_it_says_are_enough_to_read_each_once(lanes: int, shuffle: int) -> None:
    order = block_order(lanes=lanes, shuffle=shuffle)
    kept: list[int] = []
    fetched = 0
    for request in requests(order):
        for block in order.blocks[request.places].tolist():
            if block in kept:
                kept.remove(block)
            else:
                fetched += 1
            kept = [*kept, block][-order.blocks_at_hand :]
    met = len(np.unique(np.concatenate([order.blocks[r.places] for r in requests(order)])))
    assert met <= fetched <= met + lanes - 1  # neighbouring lanes share the block that they meet in
    assert order.blocks_at_hand <= 50
