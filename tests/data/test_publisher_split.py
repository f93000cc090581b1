from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.publisher_split import publisher_split
from crossray.data.sources.build import build_source
from crossray.data.split_files import read_split
from crossray.data.split_table import SplitTable
from crossray.data.splits import SplitList
from crossray.data.store import Store
from crossray.errors import ConfigError, DataError
from tests.data.twins import make_twin, replace_in

TRAIN_LIST, TEST_LIST = "train_val_list.txt", "test_list.txt"


def prepared(source: str, folder: Path, store: Path) -> Store:
    options = {"expected_counts": "none"} if source != "kermany_pneumonia" else {}
    prepare_store(build_source(source, folder, options), store, PrepareConfig(size=16), workers=1)
    return Store.open(store)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twins and stores of a set with three published sides, one with two and one with none."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("mimic_cxr", "nih_cxr14_sample", "kermany_pneumonia"):
        make_twin(name, folder / name)
        prepared(name, folder / name, folder / f"{name}-store")
    return folder


def published(store: Store, set_aside: float = 0.0, seed: int = 0) -> SplitList:
    return publisher_split(store, SplitTable.from_store(store), set_aside=set_aside, seed=seed)


def patients_of(store: Store, study_ids: tuple[str, ...]) -> set[str | None]:
    return {store.patient_ids[store.index_of(study_id)] for study_id in study_ids}


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["data", "split", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_every_study_is_on_the_side_where_its_publisher_put_it(home: Path) -> None:
    store = Store.open(home / "mimic_cxr-store")
    split = published(store)
    fold = split.fold("published")
    assert (split.protocol, len(split.folds)) == ("mimic_cxr-published", 1)
    for name, ids in (("train", fold.train), ("validate", fold.validation), ("test", fold.test)):
        assert ids == tuple(
            study_id
            for index, study_id in enumerate(store.study_ids)
            if store.attributes(index)["publisher_split"] == name
        )
        assert ids


def test_a_validation_side_is_set_aside_by_patient_where_there_is_none(home: Path) -> None:
    store = Store.open(home / "nih_cxr14_sample-store")
    (plain,), (made,) = published(store).folds, published(store, set_aside=0.3).folds
    assert plain.validation == ()
    assert "no validation side" in published(store).notes
    assert made.test == plain.test
    assert {*made.train, *made.validation} == set(plain.train)
    assert 0 < len(made.validation) < len(made.train)
    assert not patients_of(store, made.train) & patients_of(store, made.validation)
    assert published(store, set_aside=0.3).hash == published(store, set_aside=0.3).hash
    assert "Validation 0.3" in published(store, set_aside=0.3).notes


def test_nothing_is_set_aside_beside_a_published_validation_side(home: Path) -> None:
    with pytest.raises(DataError, match="has a validation side already"):
        published(Store.open(home / "mimic_cxr-store"), set_aside=0.1)


def test_patients_on_two_sides_are_named(home: Path, tmp_path: Path) -> None:
    make_twin("nih_cxr14", tmp_path / "nih")
    store = prepared("nih_cxr14", tmp_path / "nih", tmp_path / "store")
    several = next(patient for patient in store.patient_ids if store.patient_ids.count(patient) > 1)
    first = store.study_ids[store.patient_ids.index(several)]
    before = store.attributes(store.index_of(first))["publisher_split"]
    old, new = (TRAIN_LIST, TEST_LIST) if before == "train" else (TEST_LIST, TRAIN_LIST)
    replace_in(tmp_path / "nih" / old, f"{first}.png\n", "")
    with (tmp_path / "nih" / new).open("a", encoding="utf-8") as file:
        file.write(f"{first}.png\n")
    with pytest.raises(DataError, match=rf"1 patient\(s\) on two sides: '{several}' \(train, test\).*--list"):
        published(prepared("nih_cxr14", tmp_path / "nih", tmp_path / "store"))


def test_a_study_on_no_list_is_on_no_side_and_told_of(home: Path, tmp_path: Path) -> None:
    make_twin("nih_cxr14", tmp_path / "nih")
    text = (tmp_path / "nih" / TEST_LIST).read_text(encoding="utf-8")
    (tmp_path / "nih" / TEST_LIST).write_text(text.split("\n", 1)[1], encoding="utf-8")
    store = prepared("nih_cxr14", tmp_path / "nih", tmp_path / "store")
    split = published(store)
    assert len(split.folds[0].study_ids) == len(store) - 1
    assert "1 studies are on no side" in split.notes


def test_a_set_that_its_publisher_did_not_divide_is_refused(home: Path) -> None:
    with pytest.raises(DataError, match=r"no study has the attribute publisher_split.*by patient"):
        published(Store.open(home / "kermany_pneumonia-store"))


def test_the_command_writes_the_list_and_says_what_each_side_holds(home: Path, tmp_path: Path) -> None:
    store, out = home / "nih_cxr14_sample-store", tmp_path / "list.json"
    told = run(store, "--publisher", "--set-aside", "0.3", "--out", out)
    split = read_split(out)
    assert split.protocol == "nih_cxr14_sample-published"
    assert f"test: {len(split.folds[0].test)} studies" in told
    assert split.hash == published(Store.open(store), 0.3).hash
    assert "fold published:" in run(store, "--list", out)
    assert "protocol mine" in run(store, "--publisher", "--name", "mine")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set-aside", "0.1"), "--set-aside.*for the publisher's split.*--validation"),
        (("--publisher", "--set-aside", "1.5"), "1.5 is no share"),
        (("--publisher", "--list", "iu-rr-v1"), "--publisher.*--list has no meaning"),
        (("--publisher", "--test", "0.2"), "--test has no meaning"),
        (("--publisher", "--validation", "0.2"), "--validation has no meaning.*--set-aside"),
        (("--publisher", "--folds", "3"), "--folds has no meaning"),
    ],
)
def test_options_that_contradict_each_other_are_refused(home: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(home / "nih_cxr14_sample-store", *arguments)


@pytest.mark.real_data
def test_the_published_split_of_the_copy_at_hand(real_data: Path, tmp_path: Path) -> None:
    store = prepared("nih_cxr14_sample", real_data / "nih_cxr14", tmp_path / "store")
    (fold,) = published(store, set_aside=0.1).folds
    assert (len(fold.train) + len(fold.validation), len(fold.test)) == (642, 108)
    pneumonia = store.label_names.index("Pneumonia")
    # All of the copy's test side has it: neither Pneumonia nor No Finding can be scored there.
    assert all(store.labels[store.index_of(study_id), pneumonia] == 1 for study_id in fold.test)
    assert 0.08 * 642 <= len(fold.validation) <= 0.12 * 642
