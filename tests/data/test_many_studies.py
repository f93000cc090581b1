"""What keeps a store of millions light: columns that stay in the file, and many rows looked up at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossray.data.store import Store
from tests.data.studies import make_store, make_study, studies


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    unknown: dict[int, str | None] = {3: None, 4: "", 70: None, 140: None}
    items = [make_study(number) for number in range(150)]
    items = [replace(item, patient_id=unknown.get(number, item.patient_id)) for number, item in enumerate(items)]
    return make_store(tmp_path_factory.mktemp("many") / "store", items)


def test_ids_are_read_like_a_list(store: Store) -> None:
    ids = store.study_ids
    assert store.manifest.shards == 3
    assert (len(ids), ids[0], ids[-1], ids[np.int64(65)]) == (150, "s0", "s149", "s65")
    assert ids[148:] == ["s148", "s149"]
    assert ids == list(ids) == [ids[row] for row in range(150)]
    assert ids != [*ids[:149], "s0"]
    assert "s77" in ids
    assert repr(store.patient_ids)[:13] == "['p0', 'p0', "
    with pytest.raises(IndexError):
        ids[150]


def test_many_rows_are_found_at_once_in_the_order_asked_for(store: Store) -> None:
    assert store.rows_of(["s149", "nobody", "s0", "s149"]).tolist() == [149, -1, 0, 149]
    assert store.rows_of([]).tolist() == []
    asked = list(store.study_ids)[::-1]
    assert store.rows_of(asked).tolist() == [store.index_of(name) for name in asked]


def test_patients_have_one_number_each_across_shards_and_the_unknown_none(store: Store) -> None:
    numbers = store.patient_numbers
    assert np.flatnonzero(numbers < 0).tolist() == [3, 4, 70, 140]
    known = [(patient, number) for patient, number in zip(store.patient_ids, numbers, strict=True) if patient]
    assert len(set(known)) == len({patient for patient, _ in known}) == len({number for _, number in known}) > 70


def test_a_store_without_studies_has_empty_columns(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", studies(1))
    empty = Store(store.path, store.manifest.model_copy(update={"label_names": ()}), [], [])
    assert (len(empty), list(empty.study_ids), empty.patient_numbers.tolist()) == (0, [], [])
