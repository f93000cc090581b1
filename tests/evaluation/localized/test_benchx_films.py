"""Which films BenchX's protocols take, and how training varies them (downstream_protocols, 8.1)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from crossray.data.benchx_lists import benchx_split
from crossray.data.store import Store
from crossray.errors import DataError
from crossray.evaluation.localized.films import TaskFilms, _fraction, find_list, task_films
from crossray.evaluation.localized.pixels import FIXED, FilmPixels
from crossray.evaluation.localized.shipped import read_protocol
from tests.evaluation.localized.stores import SIDE, twin_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of twins."""
    return tmp_path_factory.mktemp("stores")


def test_fractions_are_nested_stratified_and_keep_patients_whole() -> None:
    rng = np.random.default_rng(0)
    ids = [f"{place:05d}" for place in range(4000)]
    patients = [str(number) for number in rng.integers(0, 3000, 4000)]
    labels = (rng.random((4000, 3)) < (0.5, 0.2, 0.1)).astype(np.float32)

    class Held(SimpleNamespace):
        def __contains__(self, study_id: str) -> bool:
            return True

    store = cast(Store, Held(index_of=int, patient_ids=patients, labels=labels))
    parts = {share: _fraction(store, ids, share) for share in (0.01, 0.1, 1.0)}
    rows = {share: np.array([int(each) for each in part]) for share, part in parts.items()}
    assert set(parts[0.01]) < set(parts[0.1]) < set(parts[1.0]) == set(ids)
    assert (len(parts[0.01]), len(parts[0.1])) == (40, 400)
    for share in (0.01, 0.1):
        inside = {patients[row] for row in rows[share]}
        assert sum(patient in inside for patient in patients) == len(rows[share])
        assert labels[rows[share]].sum(axis=0) == pytest.approx(share * labels.sum(axis=0), abs=2)


def films_of(folder: Path, source: str, protocol: str, where: Path | None = None) -> TaskFilms:
    store = Store.open(twin_store(source, folder))
    return task_films(read_protocol(protocol, changes=(f"size={SIDE}",)), store, where)


def parts_of(films: TaskFilms) -> list[set[str]]:
    sides = (films.train, films.validation, films.test)
    return [
        {films.store.attributes(films.store.film(int(row)).study_index)["publisher_split"] for row in rows}
        for rows in sides
    ]


def test_vindrs_test_side_is_the_publishers(folder: Path) -> None:
    films = films_of(folder, "vindr_cxr", "benchx_vindr_100")
    assert parts_of(films) == [{"train"}, {"train"}, {"test"}]
    assert films.split.protocol == "vindr_cxr-publisher"
    held = [films.store.attributes(index)["publisher_split"] for index in range(len(films.store))]
    assert (len(films.test), len(films.train)) == (held.count("test"), round(0.8 * held.count("train")))


def test_labels_of_nih_are_learnt_on_all_of_its_films_by_patient(folder: Path) -> None:
    films = films_of(folder, "nih_cxr14", "benchx_nih_100")
    sides = [set(films.patients(rows)) for rows in (films.train, films.validation, films.test)]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert len(films.train) + len(films.validation) + len(films.test) == len(films.store)


def write_lists(folder: Path, ids: list[str], suffix: str = "") -> Path:
    folder.mkdir(parents=True)
    names = {"train": ids[:-6], "train_10": ids[:4], "train_1": ids[1:3], "val": ids[-6:-3], "test": ids[-3:]}
    for name, part in names.items():
        (folder / f"{name}.txt").write_text("".join(f"{each}{suffix}\n" for each in part))
    return folder


def test_the_released_lists_are_taken_each_fraction_with_its_own(folder: Path, tmp_path: Path) -> None:
    ids = list(Store.open(twin_store("rsna_pneumonia", folder)).study_ids)
    write_lists(tmp_path / "RSNA", ids)
    assert find_list(tmp_path, "rsna_pneumonia") == tmp_path / "RSNA"
    one, ten, whole = (films_of(folder, "rsna_pneumonia", f"benchx_rsna_{share}", tmp_path) for share in (1, 10, 100))
    assert one.split.folds[0].train == tuple(ids[1:3])
    assert ten.split.folds[0].train == tuple(ids[:4])
    assert whole.split.folds[0].train == tuple(ids[:-6])
    for films in (one, ten):
        assert films.split.folds[0].validation == tuple(ids[-6:-3])
        assert films.split.folds[0].test == tuple(ids[-3:])
        assert len(films.whole_train) == len(ids) - 6
    assert len({films.split.hash for films in (one, ten, whole)}) == 3
    named = write_lists(tmp_path / "NIH", ids, ".png")
    assert benchx_split("x", named).folds[0].test == tuple(ids[-3:])


def test_lists_that_cannot_be_used_are_explained(folder: Path, tmp_path: Path) -> None:
    lists = write_lists(tmp_path / "RSNA", [str(number) for number in range(20)])
    with pytest.raises(DataError, match=r"no list of 0\.5 of the training films.*0\.01, 0\.1 and 1"):
        benchx_split("x", lists, 0.5)
    with pytest.raises(DataError, match=r"the train side has no film in the store.*made for another set"):
        films_of(folder, "rsna_pneumonia", "benchx_rsna_100", tmp_path)
    (lists / "val.txt").write_text("19\n")
    with pytest.raises(DataError, match="'19' stands in its lists twice"):
        benchx_split("x", lists)
    (lists / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt.*has no id"):
        benchx_split("x", lists)
    (lists / "val.txt").unlink()
    with pytest.raises(DataError, match=r"val\.txt.*cannot be read"):
        benchx_split("x", lists)


def test_a_films_crop_depends_on_seed_epoch_and_film_alone(folder: Path) -> None:
    store = Store.open(twin_store("rsna_pneumonia", folder))
    protocol = read_protocol("benchx_rsna_100", changes=("size=32",))
    pixels = FilmPixels(store, 32, FIXED["benchx"], protocol.augmentation)
    rows = np.arange(6)
    films = pixels.varied(rows, 42, 3)
    assert films.shape == (6, 1, 32, 32)
    assert torch.equal(films, pixels.varied(rows, 42, 3))
    assert torch.allclose(films[[4, 1]], pixels.varied(rows[[4, 1]], 42, 3))
    assert not torch.allclose(films, pixels.varied(rows, 42, 4))
    assert not torch.allclose(films, pixels.varied(rows, 0, 3))
    plain = pixels(rows)
    assert pixels.varies
    assert torch.equal(plain, FilmPixels(store, 32, FIXED["benchx"])(rows))
    assert not torch.allclose(films, plain)
