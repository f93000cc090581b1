"""What an epoch of a streamed store asks of its server, counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.streaming.bench import WAYS, load
from benchmarks.streaming.server import RangeServer

from crossray.data.block_order import BlockOrder, BlockOrderConfig
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sampling import GlobalBatchSampler
from crossray.data.store import Store
from crossray.data.store_manifest import read_manifest
from crossray.data.streaming.mirror import table_bytes
from crossray.data.streaming.settings import StreamSettings
from crossray.data.streaming.streamable import make_streamable
from tests.data.studies import MemorySource, make_study

FILMS, BLOCKS, SIZE, BATCH = 640, 10, 16, 32
BLOCK_GB = 64 * SIZE**2 / 1e9
ORDER = BlockOrderConfig(lanes=2, shuffle=16)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("epochs") / "store"
    prepare_store(MemorySource([make_study(n) for n in range(FILMS)]), folder, PrepareConfig(size=SIZE), workers=1)
    make_streamable(folder)
    return Store.open(folder)


def epoch_of(store: Store, epoch: int, *, ordered: bool = True, rank: int = 0, world: int = 1, start: int = 0) -> bytes:
    """The films of an epoch, one film a pair, as one process loads them."""
    order = BlockOrder(ORDER, store.blocks_of(range(FILMS))) if ordered else None
    sampler = GlobalBatchSampler(
        FILMS, BATCH, training=True, epoch=epoch, rank=rank, world=world, start=start, order=order
    )
    return b"".join(store.pixels(request.places[request.rows]).tobytes() for request in sampler)


def opened(server: RangeServer, cache: Path, blocks: float) -> Store:
    tables = table_bytes(read_manifest(server.folder))
    gigabytes = blocks * BLOCK_GB + tables / 1e9
    return Store.open(server.url, streaming=StreamSettings(cache=str(cache), cache_gb=gigabytes))


def test_each_epoch_asks_once_for_each_block_with_a_small_cache_and_never_again_with_a_large(
    local: Store, tmp_path: Path
) -> None:
    at_hand = BlockOrder(ORDER, local.blocks_of(range(FILMS))).blocks_at_hand
    assert at_hand == 8
    for blocks, again in ((at_hand, True), (BLOCKS, False)):
        with RangeServer(local.path) as server:
            store = opened(server, tmp_path / str(blocks), blocks)
            for epoch in range(3):
                before = len(server.films())
                assert epoch_of(store, epoch) == epoch_of(local, epoch)
                asked = len(server.films()) - before
                if epoch and not again:
                    assert asked == 0
                elif epoch:
                    assert asked <= BLOCKS + 1  # both lanes may want the block in which they meet
                else:
                    assert asked == BLOCKS
            kept = sum(path.stat().st_size for path in (tmp_path / str(blocks) / "films").iterdir() if path.is_file())
            assert kept <= blocks * BLOCK_GB * 1e9


def test_an_order_over_all_pairs_asks_for_most_blocks_again_and_again(local: Store, tmp_path: Path) -> None:
    with RangeServer(local.path) as server:
        store = opened(server, tmp_path, 5)
        assert epoch_of(store, 0, ordered=False) == epoch_of(local, 0, ordered=False)
        assert len(server.films()) > 5 * BLOCKS  # which ones are thrown away depends on the threads


def test_two_processes_fetch_different_blocks_and_together_load_what_one_loads(local: Store, tmp_path: Path) -> None:
    asked: list[set[tuple[str, int]]] = []
    films: list[np.ndarray] = []
    for rank in range(2):
        with RangeServer(local.path) as server:
            store = opened(server, tmp_path / str(rank), BLOCKS)
            loaded = np.frombuffer(epoch_of(store, 0, rank=rank, world=2), np.uint8)
            films.append(loaded.reshape(-1, BATCH // 2, SIZE**2))
            asked.append({(request.name, request.start) for request in server.films()})
    assert len(asked[0] & asked[1]) == 0
    assert len(asked[0] | asked[1]) == BLOCKS
    assert np.concatenate(films, axis=1).tobytes() == epoch_of(local, 0)


def test_the_benchmark_loads_every_pair_and_counts_what_the_server_counts(local: Store, tmp_path: Path) -> None:
    (way,) = (way for way in WAYS if way.streamed and way.kept == 1.0)
    with RangeServer(local.path) as server:
        first, second = load(way, local.path, server.url, tmp_path)
        assert len(server.films()) == first["requests"]
    assert first["pairs"] == second["pairs"] == FILMS // 48 * 48
    assert (first["requests"], first["bytes"]) == (BLOCKS, FILMS * SIZE**2)
    assert second["requests"] == 0


def test_gone_on_with_in_the_middle_an_epoch_ends_in_the_same_bytes(local: Store, tmp_path: Path) -> None:
    with RangeServer(local.path) as server:
        rest = epoch_of(opened(server, tmp_path, BLOCKS), 1, start=15)
        assert len(server.films()) < BLOCKS
    whole = epoch_of(local, 1)
    assert rest == whole[15 * BATCH * SIZE**2 :]
