"""Lists of k classes by n studies: who is of one class alone, what is drawn, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossray.data.chexpert import COMPETITION_LABELS
from crossray.data.class_list import NO_CLASS, ClassListConfig, class_list, classes_of
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.reports import parse_report
from crossray.data.split_files import read_split, write_split
from crossray.data.splits import Fold, SplitList
from crossray.data.store import Store
from crossray.data.study import Film, Study
from crossray.errors import ConfigError, DataError

from .studies import Gradient, MemorySource

STUDIES = 1440
NAMES = ("No Finding", *COMPETITION_LABELS, "Support Devices")


def one_class_each() -> Iterator[Study]:
    """Five studies show each class in turn, alone, and the sixth shows two; some have something besides."""
    pixels = Gradient(7, height=16, width=16)
    for number in range(STUDIES):
        place = number % 6
        present = {COMPETITION_LABELS[place]} if place < 5 else {"Edema", "Cardiomegaly"}
        labels = {name: float(name in present) for name in NAMES}
        labels["No Finding"] = float("nan")
        attributes = {}
        if number % 60 == 3:  # an edema with a tube
            labels["Support Devices"] = 1.0
        if number % 60 == 4:  # an effusion, and perhaps a consolidation, which the table leaves unknown
            labels["Consolidation"], attributes["uncertain"] = float("nan"), "Consolidation"
        yield Study(
            study_id=str(number),
            patient_id=f"p{number}",
            films=(Film(f"f{number}", "lateral" if number % 60 == 0 else "frontal", pixels),),
            report=parse_report(f"FINDINGS: Study {number}."),
            labels=labels,
            attributes=attributes,
        )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("one-class") / "store"
    prepare_store(MemorySource(list(one_class_each()), label_names=NAMES), folder, PrepareConfig(size=16), workers=1)
    return Store.open(folder)


@pytest.fixture(scope="module")
def split(store: Store) -> SplitList:
    ids = tuple(store.study_ids)
    return SplitList("all", (Fold("0", ids[:12], (), ids[12:]), Fold("1", ids[12:], (), ids[:12])))


def test_check_7_the_5x200_list_has_200_studies_of_each_class_alone(store: Store, split: SplitList) -> None:
    config = ClassListConfig()
    assert config.name == "5x200"
    drawn = class_list(store, split, config, folds=["0"])
    fold = drawn.fold("0")
    assert (fold.train, fold.validation) == ((), ())
    rows = np.array([store.index_of(study_id) for study_id in fold.test])
    classes = classes_of(store, rows, config)
    np.testing.assert_array_equal(np.bincount(classes), [200] * 5)
    positive = store.labels[rows] == 1
    np.testing.assert_array_equal(positive.sum(axis=1), 1)
    np.testing.assert_array_equal(positive[:, 1:6].argmax(axis=1), classes)
    assert set(fold.test) <= set(split.fold("0").test)
    numbers = np.array([int(study_id) for study_id in fold.test])
    assert not np.isin(numbers % 60, [0, 3, 4]).any(), "a lateral film, a tube or a doubt"


def test_the_same_seed_draws_the_same_list_whatever_else_is_drawn(store: Store, split: SplitList) -> None:
    config = ClassListConfig(per_class=50)
    drawn = class_list(store, split, config, folds=["0"])
    shuffled = replace(split, folds=(replace(split.folds[0], test=split.folds[0].test[::-1]), split.folds[1]))
    assert class_list(store, shuffled, config, folds=["0"]).hash == drawn.hash
    other = class_list(store, split, ClassListConfig(per_class=50, seed=1), folds=["0"])
    assert other.hash != drawn.hash
    fewer = ClassListConfig(classes=COMPETITION_LABELS[:2], per_class=50)
    assert set(class_list(store, split, fewer, folds=["0"]).folds[0].test) < set(drawn.folds[0].test)


def test_a_list_is_written_and_read_like_every_split_list(store: Store, split: SplitList, tmp_path: Path) -> None:
    drawn = class_list(store, split, ClassListConfig(per_class=3), folds=["0"])
    write_split(drawn, tmp_path / "list.json")
    again = read_split(tmp_path / "list.json")
    assert (again.protocol, again.hash) == ("all-5x3", drawn.hash)
    assert again.folds[0].train == ()
    assert "seed 0" in again.notes


def test_too_few_studies_are_refused_with_the_count_of_every_class(store: Store, split: SplitList) -> None:
    with pytest.raises(
        DataError, match=r"fold '1' of all has too few .*Atelectasis 2, .*Edema 1, Pleural Effusion 1; 200 of"
    ):
        class_list(store, split, ClassListConfig(), folds=["1"])


def test_only_the_other_classes_are_asked_if_so_wanted(store: Store) -> None:
    rows = np.array([store.index_of(study_id) for study_id in ("3", "4", "5", "9")])
    found = classes_of(store, rows, ClassListConfig(exclusive="classes"))
    assert found.tolist() == [3, NO_CLASS, NO_CLASS, 3], "a tube is no class, a doubt and two classes are"
    assert classes_of(store, rows, ClassListConfig()).tolist() == [NO_CLASS, NO_CLASS, NO_CLASS, 3]


def test_a_class_without_a_label_is_named(store: Store, split: SplitList) -> None:
    with pytest.raises(ConfigError, match="no labels Fracture"):
        class_list(store, split, ClassListConfig(classes=("Edema", "Fracture"), per_class=2))
