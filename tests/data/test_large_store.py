"""What keeps a store of millions light: columns that stay in the file, and many rows looked up at once."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.large_store import measure, simulate

from crossray.data.randomness import Purpose, derived_generator
from crossray.data.sampling import GlobalBatchSampler
from crossray.data.store import Store
from crossray.data.verify import verify_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("large") / "store"
    simulate(path, 1000)
    return Store.open(path)


def test_a_simulated_store_is_a_store(store: Store) -> None:
    verify_store(store.path)
    assert store.manifest.shards == 250
    assert store.study_ids == [f"s{number}" for number in range(1000)]
    assert store.films_of(store.index_of("s437")) == [437]
    assert store.film(437).study_index == 437
    assert store.report(437).text.startswith("FINDINGS")


def test_the_measurement_reads_every_study(store: Store) -> None:
    found = measure(store.path)
    assert found["studies"] == 1000
    assert all(found[name] > 0 for name in ("drawn_per_second", "read_per_second", "split_seconds", "peak_mb"))


def test_an_opened_store_holds_five_bytes_a_study_and_copies_no_column(store: Store) -> None:
    before = pa.total_allocated_bytes()
    again = Store.open(store.path)
    assert pa.total_allocated_bytes() - before < 10_000  # views and counts of films are numpy's, columns mapped
    assert again._first_film.nbytes + again._films.views.nbytes == 4 * 1001 + 1000
    assert "labels" not in vars(again)
    np.testing.assert_array_equal(again.labels, np.tile([0.0, 1.0], (1000, 1)))
    assert [again.film(row).study_index for row in range(1000)] == list(range(1000))


@pytest.mark.parametrize("pairs", [1, 7, 1000, 100_003])
def test_the_narrow_order_is_the_one_that_was_always_drawn(pairs: int) -> None:
    drawn = [request.places for request in GlobalBatchSampler(pairs, 1, training=True, seed=3, epoch=4)]
    wide = derived_generator(3, 4, Purpose.ORDER, 0).permutation(np.arange(pairs, dtype=np.int64))
    np.testing.assert_array_equal(np.concatenate(drawn), wide)
    assert {places.dtype for places in drawn} == {np.dtype(np.int64)}


def test_the_order_of_a_hundred_thousand_pairs_is_pinned() -> None:
    drawn = np.concatenate([request.places for request in GlobalBatchSampler(100_000, 250, training=True, seed=1)])
    assert hashlib.sha256(drawn.astype("<i8").tobytes()).hexdigest()[:16] == "65f99d503fa91bec"
