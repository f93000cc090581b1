"""Pixels, truth and splits of a task's films."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from crossray.data.sources.nih_cxr14 import BOX_CLASSES
from crossray.data.store import Store
from crossray.errors import DataError
from crossray.evaluation.localized.films import TaskFilms, task_films
from crossray.evaluation.localized.image_dice import balanced_films, positive_films
from crossray.evaluation.localized.pixels import FilmPixels, measured_normalisation
from crossray.evaluation.localized.shipped import read_protocol
from crossray.evaluation.localized.truth import Boxes, Labels, Masks
from tests.evaluation.localized.stores import SIDE, twin_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


def films_of(folder: Path, source: str, protocol: str, *changes: str) -> TaskFilms:
    store = Store.open(twin_store(source, folder))
    return task_films(read_protocol(protocol, changes=(f"size={SIDE}", *changes)), store)


def sides(films: TaskFilms) -> list[set[str | None]]:
    return [set(films.patients(rows)) for rows in (films.train, films.validation, films.test)]


def test_mean_and_std_are_of_the_films_before_padding(folder: Path) -> None:
    store = Store.open(twin_store("object_cxr", folder))  # films of several shapes
    rows = np.arange(store.film_count)
    means, variances = [], []
    for row in rows:
        x0, y0, x1, y1 = store.film(int(row)).geometry.content_box()
        film = store.pixels([int(row)])[0, y0:y1, x0:x1].astype(np.float64) / 255
        means.append(film.mean())
        variances.append(((film - film.mean()) ** 2).mean())
    found = measured_normalisation(store, rows)
    assert found.mean == pytest.approx(np.mean(means))
    assert found.std == pytest.approx(np.sqrt(np.mean(variances) + np.var(means)))
    pixels = FilmPixels(store, SIDE, found)(rows[:3])
    expected = (store.pixels(rows[:3]) / 255.0 - found.mean) / found.std
    assert torch.allclose(pixels[:, 0].double(), torch.from_numpy(expected), atol=1e-5)


def test_a_missing_mask_is_empty_and_the_others_are_those_of_the_store(folder: Path) -> None:
    films = films_of(folder, "nih_cxr14", "nih_seg_linear")
    rows = np.concatenate([films.train, films.validation, films.test])
    names = tuple(BOX_CLASSES)
    masks = Masks(films.store, rows, names, SIDE)
    found = masks(rows[::-1])
    assert found.shape == (len(rows), 8, SIDE, SIDE)
    assert found.dtype == torch.bool
    present = 0
    for row, of_film in zip(rows[::-1], found, strict=True):
        for name, mask in zip(names, of_film, strict=True):
            known = name in films.store.film(int(row)).mask_names
            wanted = films.store.mask(int(row), name) == 255 if known else np.zeros((SIDE, SIDE), dtype=bool)
            assert (mask.numpy() == wanted).all()
            present += known
    assert present > 5
    with pytest.raises(DataError, match=r"no film has a mask 'lung'.*Its masks: .*Effusion"):
        Masks(films.store, rows, ("lung",), SIDE)


def test_masks_of_a_larger_store_are_taken_at_the_nearest_pixel(folder: Path) -> None:
    films = films_of(folder, "rsna_pneumonia", "rsna_seg_linear_100")
    rows = films.train
    small = Masks(films.store, rows, ("opacity",), SIDE // 2)(rows)
    whole = Masks(films.store, rows, ("opacity",), SIDE)(rows)
    assert (small == whole[:, :, 1::2, 1::2]).all()
    assert small.any()


def test_boxes_are_told_in_pixels_of_the_film_that_the_trunk_is_given(folder: Path) -> None:
    films = films_of(folder, "rsna_pneumonia", "rsna_frozen_100")
    rows = np.arange(films.store.film_count)
    boxes = Boxes(films.store, rows, ("Lung Opacity",), SIDE // 2)(rows)
    assert len(boxes) == len(rows)
    masks = Masks(films.store, rows, ("opacity",), SIDE)(rows)[:, 0]
    boxed = positive_films(Masks(films.store, rows, ("opacity",), SIDE), rows)[:, 0]
    assert set(boxes.film.tolist()) == set(boxed.nonzero().flatten().tolist())
    for film, (left, top, width, height) in zip(boxes.film.tolist(), (2 * boxes.boxes).tolist(), strict=True):
        inside = masks[film, round(top) : round(top + height), round(left) : round(left + width)]
        assert inside.float().mean() > 0.9
    with pytest.raises(DataError, match="no film has a box labelled Mass"):
        Boxes(films.store, rows, ("Mass",), SIDE)


def test_labels_are_those_of_the_films_study(folder: Path) -> None:
    films = films_of(folder, "rsna_pneumonia", "prior_rsna_classification")
    labels = Labels(films.store, films.test, ("Lung Opacity",))(films.test)
    studies = [films.store.film(int(row)).study_index for row in films.test]
    assert torch.equal(labels, torch.from_numpy(films.store.labels[studies]))
    with pytest.raises(DataError, match=r"no label 'Edema'.*Lung Opacity"):
        Labels(films.store, films.test, ("Edema",))


def test_balanced_training_keeps_all_positives_and_as_many_negatives(folder: Path) -> None:
    films = films_of(folder, "rsna_pneumonia", "prior_rsna_segmentation")
    masks = Masks(films.store, films.train, ("opacity",), SIDE)
    positive = positive_films(masks, films.train).any(dim=1).numpy()
    few = np.concatenate([films.train[positive][:2], films.train[~positive]])
    kept = balanced_films(masks, few)
    assert len(kept) == 4
    assert set(kept[:2]) == set(few[:2])
    assert (balanced_films(masks, few) == kept).all()
    assert set(balanced_films(masks, films.train)) == set(films.train)  # fewer negatives than positives


def test_splits_that_are_made_keep_patients_whole_and_shares_right(folder: Path) -> None:
    films = films_of(folder, "covid_rural", "covid_linear")
    train, validation, test = sides(films)
    assert not train & validation
    assert not (train | validation) & test
    count = len(films.train) + len(films.validation) + len(films.test)
    assert len(films.test) == pytest.approx(0.2 * count, abs=2)
    assert len(films.validation) == pytest.approx(0.2 * count, abs=2)


def test_nih_is_boxed_films_and_healthy_ones_of_the_publishers_test_part(folder: Path) -> None:
    films = films_of(folder, "nih_cxr14", "nih_seg_linear")
    train, validation, test = sides(films)
    assert not train & validation
    assert not (train | validation) & test
    column = films.store.label_names.index("No Finding")
    for row in np.concatenate([films.train, films.validation, films.test]).tolist():
        film = films.store.film(row)
        healthy = films.store.labels[film.study_index, column] == 1
        in_test = films.store.attributes(film.study_index)["publisher_split"] == "test"
        assert film.boxes or (healthy and in_test)


@pytest.mark.parametrize(
    ("source", "protocol"), [("object_cxr", "object_frozen_100"), ("chexpert", "prior_chexpert_classification")]
)
def test_the_publishers_validation_part_is_the_test_side(folder: Path, source: str, protocol: str) -> None:
    films = films_of(folder, source, protocol)
    parts = [
        {films.store.attributes(films.store.film(int(row)).study_index)["publisher_split"] for row in rows}
        for rows in (films.train, films.validation, films.test)
    ]
    assert parts == [{"train"}, {"train"}, {"validate"}]


def test_patients_on_two_sides_are_refused_unless_the_protocol_published_it(folder: Path, tmp_path: Path) -> None:
    store = Store.open(twin_store("nih_cxr14", folder))
    patients = store.patient_ids
    first = next(place for place in range(len(patients) - 1) if patients[place] == patients[place + 1])
    ids = store.study_ids
    lists = (ids[: first + 1], ids[first + 1 : -3], ids[-3:])
    for name, part in zip(("train", "validation", "test"), lists, strict=True):
        (tmp_path / f"{name}.csv").write_text("ID,boxes,classes\n" + "".join(f"{each},,\n" for each in part))
    size = (f"size={SIDE}",)
    with pytest.raises(DataError, match="--preset legacy measures on the list as it was published"):
        task_films(read_protocol("nih_seg_linear", changes=size), store, tmp_path)
    leaking = task_films(read_protocol("nih_seg_linear", "legacy", size), store, tmp_path)
    assert len(leaking.train) == first + 1


def test_where_only_some_films_were_looked_at_only_those_take_part_and_each_is_tested_once(folder: Path) -> None:
    store = Store.open(twin_store("nih_cxr14_sample", folder, count=60))
    protocol = read_protocol("nih_opacity_boxes_linear", changes=(f"size={SIDE}",))
    tested: list[int] = []
    for fold in map(str, range(protocol.folds)):
        films = task_films(protocol, store, fold=fold)
        train, validation, test = sides(films)
        assert len(train | validation | test) == len(train) + len(validation) + len(test)
        tested += films.test.tolist()
    annotated = [row for row in range(store.film_count) if "opacity" in store.film(row).mask_names]
    assert 0 < len(annotated) < store.film_count
    assert sorted(tested) == annotated


def test_a_store_in_which_nobody_looked_is_refused(folder: Path) -> None:
    store = Store.open(twin_store("kermany_pneumonia", folder))
    protocol = read_protocol("covid_ground_glass_linear", changes=(f"size={SIDE}",))
    with pytest.raises(DataError, match="no film is annotated with ground_glass_opacities"):
        task_films(protocol, store)
