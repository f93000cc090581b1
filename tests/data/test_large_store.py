"""What keeps a store of millions light: columns that stay in the file, and many rows looked up at once."""

from __future__ import annotations

import pytest
from benchmarks.large_store import measure, simulate

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
