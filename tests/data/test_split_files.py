from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossray.data.split_files import (
    check_patients,
    protocol_names,
    read_split,
    rows_of_fold,
    shared_texts,
    write_split,
)
from crossray.data.split_table import SplitTable, split_table, text_key
from crossray.data.splits import Fold, SplitList
from crossray.errors import DataError
from tests.data.studies import make_store, make_study, studies, with_report

SPLIT = SplitList(
    "mine",
    (Fold("0", ("1", "2", "10"), ("3",), ("4",)), Fold("1", ("1",), (), ("2",))),
    notes="two folds, the second on fewer studies",
)


def test_what_is_written_is_read_back_and_equal_lists_give_equal_bytes(tmp_path: Path) -> None:
    write_split(SPLIT, tmp_path / "a.json")
    assert read_split(tmp_path / "a.json") == SPLIT
    shuffled = SplitList("mine", (Fold("0", ("10", "2", "1"), ("3",), ("4",)), SPLIT.folds[1]), SPLIT.notes)
    write_split(shuffled, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_shipped_protocols_are_read_by_name_and_whole() -> None:
    assert {"iu-rr-v1", "iu-r2gen-legacy"} <= set(protocol_names())
    split = read_split("iu-rr-v1")
    assert split.protocol == "iu-rr-v1"
    tests = [study_id for fold in split.folds for study_id in fold.test]
    assert (len(split.folds), len(tests), len(set(tests))) == (5, 2709, 2709)
    for fold in split.folds:
        assert set(fold.study_ids) == set(tests)
        assert len(fold.study_ids) == len(set(fold.study_ids))


def test_a_list_whose_ids_were_changed_does_not_fit_its_hash(tmp_path: Path) -> None:
    write_split(SPLIT, tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    content["folds"][0]["validation"] = ["2"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"hash.*altered"):
        read_split(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a split list"),
        ("{", "not a split list"),
        ('{"kind": "x"}', "no split list"),
        ('{"kind": "crossray-split", "format_version": 9}', "format version 9"),
        ('{"kind": "crossray-split", "format_version": 1}', "not a split list"),
    ],
)
def test_what_is_no_split_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "a.json")


def test_a_name_that_is_nothing_lists_the_protocols(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="iu-rr-v1"):
        read_split(tmp_path / "nothing.json")


def test_a_hand_given_list_is_read_with_its_folds(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("study_id,split,fold\na,train,x\nb,val,x\nc,test,x\na,test,y\nb,training,y\n")
    split = read_split(tmp_path / "mine.csv")
    assert split.protocol == "mine"
    assert split.folds == (Fold("x", ("a",), ("b",), ("c",)), Fold("y", ("b",), (), ("a",)))
    (tmp_path / "one.csv").write_text("study_id,split\na,train\nb,test\n")
    assert read_split(tmp_path / "one.csv").folds[0].name == "fixed"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,train\na,test\n", "study 'a' is in train and test"),
        ("a,train\na,train\n", "train twice"),
        ("a,training set\n", r"row 1, field 'split'.*not train, validation or test"),
        (",train\n", r"row 1, field 'study_id'.*empty"),
    ],
)
def test_a_hand_given_list_with_a_mistake_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "mine.csv").write_text("study_id,split\n" + rows)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "mine.csv")


def test_one_patient_in_two_splits_is_refused_by_name(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", studies(6))  # s0 and s1 are one patient's, s2 and s3 another's
    fold = Fold("fixed", ("s0", "s1", "s2"), (), ("s3", "s4"))
    with pytest.raises(DataError, match=r"patient 'p1' is in two splits.*'s2' in train, study 's3' in test"):
        rows_of_fold(fold, store)
    check_patients(fold, {"s2": None, "s3": None})  # unknown patients cannot be told apart


def test_a_fold_becomes_rows_and_absent_studies_are_listed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", studies(6))
    rows = rows_of_fold(Fold("fixed", ("s3", "s2", "gone"), ("s5",), ("s0",)), store)
    assert (rows.train.tolist(), rows.validation.tolist(), rows.test.tolist()) == ([2, 3], [5], [0])
    assert rows.absent == ("gone",)
    with pytest.raises(DataError, match=r"none of the 1 test studies.*another data set"):
        rows_of_fold(Fold("fixed", ("s3",), (), ("gone",)), store)


def test_texts_count_as_shared_as_a_model_reads_them() -> None:
    first = with_report(make_study(0), "FINDINGS: Heart XXXX normal.\nIMPRESSION: 1. Clear lungs.")
    second = with_report(make_study(1), "INDICATION: Cough.\nFINDINGS: heart normal.\nIMPRESSION: Clear lungs")
    keys = {study.study_id: text_key(study.report) for study in (first, second)}
    assert keys == {"s0": "heart normal clear lungs", "s1": "heart normal clear lungs"}
    shared = shared_texts(Fold("0", ("s0",), (), ("s1", "unknown")), keys)
    assert shared == {("train", "validation"): 0, ("train", "test"): 1, ("validation", "test"): 0}


def test_a_store_and_its_source_give_the_same_table(tmp_path: Path) -> None:
    made = [make_study(number) for number in range(20)]
    store = make_store(tmp_path / "s", made)
    first, second = SplitTable.from_store(store), SplitTable.from_studies(made, store.label_names)
    assert (first.study_ids, first.patient_ids, first.text_keys) == (
        second.study_ids,
        second.patient_ids,
        second.text_keys,
    )
    np.testing.assert_array_equal(first.labels, second.labels)
    split = split_table(first, folds=2, seed=3)
    assert split == split_table(second, folds=2, seed=3)
    assert sum(first.positives(split.folds[0])["test"]) > 0
    with pytest.raises(DataError, match=r"no label 'Hernia'.*Cardiomegaly"):
        SplitTable.from_store(store, ["Hernia"])


def test_texts_may_be_let_apart(tmp_path: Path) -> None:
    same = [with_report(make_study(number), "FINDINGS: Clear.") for number in range(8)]
    table = SplitTable.from_studies(same, ())
    with pytest.raises(DataError, match="8 of 8"):
        split_table(table, folds=2)
    split = split_table(table, folds=2, texts="apart", validation_fraction=0)
    assert [len(fold.test) for fold in split.folds] == [4, 4]
