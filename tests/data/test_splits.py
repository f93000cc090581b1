from __future__ import annotations

import numpy as np
import pytest

from crossray.data.split_table import SplitTable
from crossray.data.splits import Fold, SplitList, make_splits, natural_key, nested_fractions
from crossray.errors import DataError

COUNT = 120
IDS = [f"s{i}" for i in range(COUNT)]
PATIENTS = [f"p{i // 3}" if i % 5 else None for i in range(COUNT)]
TEXTS = [f"text {i}" if i % 7 else f"stock {i % 4}" for i in range(COUNT)]
LABELS = (np.random.default_rng(0).random((COUNT, 3)) < [0.4, 0.2, 0.1]).astype(np.float32)


def split(**options: object) -> SplitList:
    return make_splits(IDS, PATIENTS, TEXTS, LABELS, **{"folds": 4, "seed": 1, **options})  # type: ignore[arg-type]  # passes options on


def test_test_sides_hold_every_study_once_and_each_fold_every_study() -> None:
    made = split()
    assert sorted(i for fold in made.folds for i in fold.test) == sorted(IDS)
    for fold in made.folds:
        assert sorted(fold.study_ids) == sorted(IDS)


def test_neither_a_patient_nor_a_text_stands_on_two_sides() -> None:
    for keys in (PATIENTS, TEXTS):
        key_of = dict(zip(IDS, keys, strict=True))
        for fold in split().folds:
            sides = [{key_of[i] for i in ids} - {None} for ids in (fold.train, fold.validation, fold.test)]
            assert len(sides[0] | sides[1] | sides[2]) == sum(len(side) for side in sides)


def test_the_order_of_the_input_changes_nothing() -> None:
    order = np.random.default_rng(5).permutation(COUNT)
    shuffled = make_splits(
        [IDS[i] for i in order], [PATIENTS[i] for i in order], [TEXTS[i] for i in order], LABELS[order], folds=4, seed=1
    )
    assert shuffled == split()


def test_another_seed_makes_another_list_with_another_hash() -> None:
    assert split(seed=2).hash != split().hash
    assert split().hash == split().hash


def test_the_hash_covers_the_protocol_and_every_side_but_not_the_order_of_ids() -> None:
    fold = Fold("0", ("a", "b"), ("c",), ("d",))
    reordered = Fold("0", ("b", "a"), ("c",), ("d",))
    moved = Fold("0", ("a",), ("b", "c"), ("d",))
    assert SplitList("x", (fold,)).hash == SplitList("x", (reordered,), notes="other").hash
    assert len({SplitList("x", (fold,)).hash, SplitList("y", (fold,)).hash, SplitList("x", (moved,)).hash}) == 3


def test_a_fixed_split_has_the_shares_asked_for() -> None:
    made = make_splits(IDS, [None] * COUNT, [None] * COUNT, LABELS, test_fraction=0.25, validation_fraction=0.2)
    (fold,) = made.folds
    assert (fold.name, len(fold.test), len(fold.validation), len(fold.train)) == ("fixed", 30, 18, 72)


def test_without_validation_the_whole_rest_trains() -> None:
    assert all(not fold.validation for fold in split(validation_fraction=0.0).folds)


@pytest.mark.parametrize(
    "options", [{"folds": 1}, {"validation_fraction": 1.0}, {"validation_fraction": -0.1}, {"test_fraction": 1.5}]
)
def test_a_request_that_cannot_be_met_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(DataError):
        split(**options)


def test_a_side_that_would_be_empty_is_refused() -> None:
    with pytest.raises(DataError, match="validation side of fold '0' would be empty: 3 studies are too few"):
        make_splits(["a", "b", "c"], [None] * 3, [None] * 3, np.zeros((3, 0)), folds=3)


def test_repeated_ids_are_refused() -> None:
    with pytest.raises(DataError, match="repeat"):
        make_splits(["a", "a"], [None, None], [None, None], np.zeros((2, 0)))


def test_a_text_that_ties_too_many_studies_is_named_with_a_remedy() -> None:
    with pytest.raises(DataError, match="60 of 120 studies are tied together") as raised:
        make_splits(IDS, [None] * COUNT, ["normal" if i % 2 else None for i in range(COUNT)], LABELS, folds=4)
    assert "--texts apart" in str(raised.value)


def test_an_unknown_fold_names_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"no fold '9'.*0, 1, 2, 3"):
        split().fold("9")


def test_fractions_are_nested_stratified_and_keep_patients_whole() -> None:
    parts = nested_fractions(IDS, (0.1, 1.0, 0.5), seed=4, patient_ids=PATIENTS, labels=LABELS)
    assert set(parts[0.1]) < set(parts[0.5]) < set(parts[1.0]) == set(IDS)
    assert abs(len(parts[0.5]) - 60) <= 3
    assert abs(len(parts[0.1]) - 12) <= 3
    patient_of = dict(zip(IDS, PATIENTS, strict=True))
    inside = {patient_of[i] for i in parts[0.5]} - {None}
    assert not inside & {patient_of[i] for i in set(IDS) - set(parts[0.5])}
    share = LABELS[[IDS.index(i) for i in parts[0.5]]].mean(axis=0)
    assert np.abs(share - LABELS.mean(axis=0)).max() < 0.05


def test_a_fraction_holds_at_least_one_study_and_lies_within_one() -> None:
    assert len(nested_fractions(["a", "b"], (0.01,), seed=0)[0.01]) == 1
    with pytest.raises(DataError):
        nested_fractions(["a"], (0.0,), seed=0)


def test_ids_sort_as_people_count() -> None:
    assert sorted(["10", "9", "a10", "1"], key=natural_key) == ["1", "9", "10", "a10"]


def test_a_table_without_studies_is_also_without_their_patients_and_their_texts() -> None:
    table = SplitTable(
        study_ids=("a", "b", "c", "d", "e"),
        patient_ids=("1", "1", "2", "3", None),
        text_keys=("normal", "clear", "normal", "effusion", ""),
        labels=np.array([[0], [1], [2], [3], [4]], dtype=np.float32),
        label_names=("place",),
    )
    rest = table.without(["a"])  # b is of the same patient, c has the same text
    assert rest.study_ids == ("d", "e")
    assert rest.patient_ids == ("3", None)
    assert rest.text_keys == ("effusion", "")
    assert rest.labels.tolist() == [[3.0], [4.0]]
    assert table.without(["e"]).study_ids == ("a", "b", "c", "d")  # no patient and no text tie nothing
