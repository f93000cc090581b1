"""What holds for each public set with boxes, masks or phrases alike; the rest stands in the tests of its own."""

from __future__ import annotations

import csv
import pickle
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.equalise import equalise
from crossray.data.images import FilmPixels
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.base import Source
from crossray.data.sources.build import build_source
from crossray.data.store import Store
from crossray.data.study import Study
from crossray.data.twins.build import write_twin
from crossray.data.twins.material import TwinConfig
from crossray.errors import ConfigError, DataError
from crossray.files import sha256_of
from tests.data.twins import found_in, make_twins, of_twin, replace_in

# Source -> (parts that are missing from an empty folder, a published count, the masks of every film)
SETS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "rsna_pneumonia": (
        ("stage_2_train_images/", "stage_2_train_labels.csv"),
        "rows of stage_2_train_labels.csv: 30227 expected",
        ("opacity",),
    ),
    "siim_acr": (("dicom-images-train/", "train-rle.csv"), "studies: 12047 expected", ("pneumothorax",)),
    "covid_rural": (("jpgs/", "pngs_masks/"), "patients: 104 expected", ("opacity",)),
    "object_cxr": (("train/", "train.csv", "dev/", "dev.csv"), "boxes: 9238 expected", ("foreign_object",)),
    "vindr_cxr": (
        ("train/", "test/", "annotations/annotations_train.csv", "annotations/image_labels_test.csv"),
        "images of train: 15000 expected",
        (),
    ),
    "ms_cxr": (("MS_CXR_Local_Alignment_v*.csv or MS_CXR_Local_Alignment_v*.json",), "", ()),
}
# Source -> the table of which a row is broken, and how
BROKEN = {
    "rsna_pneumonia": ("stage_2_train_labels.csv", ".0,1\n", ".0,yes\n"),
    "siim_acr": ("train-rle.csv", ", -1\n", ", 5\n"),
    "object_cxr": ("train.csv", ".jpg,\n", ".jpg,0 1 2\n"),
    "vindr_cxr": ("annotations/image_labels_train.csv", ",0,", ",maybe,"),
    "ms_cxr": ("MS_CXR_Local_Alignment_v1.0.0.csv", "/s5", "/t5"),
}
EQUALISED = ("siim_acr", "covid_rural", "object_cxr")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the twin of each set under its name."""
    return make_twins(SETS, tmp_path_factory.mktemp("twins"))


def studies_of(source: Source) -> list[Study]:
    return list(found_in(source).studies.values())


def film_files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in folder.rglob("*") if path.suffix in (".dcm", ".dicom", ".jpg")}


@pytest.mark.parametrize("name", SETS)
def test_a_wrong_directory_is_told_what_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as told:
        build_source(name, tmp_path)
    assert all(part in str(told.value) for part in SETS[name][0])
    assert "It is " in str(told.value)
    with pytest.raises(DataError, match="no such folder"):
        build_source(name, tmp_path / "nothing")
    with pytest.raises(ConfigError, match="needs the folder"):
        build_source(name)


@pytest.mark.parametrize("name", [name for name in SETS if SETS[name][1]])
def test_the_published_counts_are_checked_unless_told_otherwise(name: str, twins: Path) -> None:
    with pytest.raises(DataError) as told:
        list(build_source(name, twins / name).studies())
    assert SETS[name][1] in str(told.value)
    assert "expected_counts=twin" in str(told.value)
    assert len(studies_of(build_source(name, twins / name, {"expected_counts": "none"}))) > 8


@pytest.mark.parametrize("name", SETS)
def test_a_twin_with_a_film_less_does_not_pass_for_whole(name: str, twins: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(twins / name, tmp_path / name))
    source = of_twin(twins, name)
    film_files(folder)[studies_of(source)[0].films[0].film_id].unlink()
    with pytest.raises(DataError, match=r"studies: \d+ expected, \d+ found"):
        list(of_twin(tmp_path, name).studies())
    found = found_in(build_source(name, folder, {"expected_counts": "none"}))
    assert found.rules.count("missing_file") == 1
    assert source.fingerprint() != of_twin(tmp_path, name).fingerprint()


@pytest.mark.parametrize("name", SETS)
def test_a_twin_becomes_a_store_with_every_study_box_and_mask(name: str, twins: Path, tmp_path: Path) -> None:
    source = of_twin(twins, name)
    studies = studies_of(source)
    summary = prepare_store(source, tmp_path / "store", PrepareConfig(size=32), workers=1)
    store = Store.open(tmp_path / "store")
    assert list(store.study_ids) == [study.study_id for study in studies]
    assert summary.funnel.films_out == len(studies)
    for index, study in enumerate(studies):
        (row,) = store.films_of(index)
        assert store.attributes(index) == dict(study.attributes)
        assert store.patient_ids[index] == study.patient_id
        assert store.film(row).boxes == study.films[0].boxes
        assert tuple(store.film(row).mask_names) == SETS[name][2]
        assert store.phrase_regions(index) == study.phrase_regions
        np.testing.assert_array_equal(store.labels[index], [study.labels[label] for label in source.label_names])


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_row_is_listed_and_counted_by_a_preparation(name: str, twins: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(twins / name, tmp_path / name))
    table, old, new = BROKEN[name]
    replace_in(folder / table, old, new)
    source = build_source(name, folder, {"expected_counts": "none"})
    summary = prepare_store(source, tmp_path / "store", PrepareConfig(size=16), workers=1)
    assert summary.funnel.study_rules == {"bad_row": 1}
    assert summary.funnel.studies_in == summary.funnel.studies_out + 1
    with (tmp_path / "store" / "quarantine.csv").open(newline="") as file:
        (listed,) = csv.DictReader(file)
    (left_out,) = found_in(source).rejected
    assert (listed["what"], listed["study_id"], listed["rule"]) == ("study left out", left_out.study_id, "bad_row")
    assert (listed["reason"], listed["file"], listed["row"]) == (
        left_out.reason,
        str(folder / table),
        str(left_out.row),
    )


@pytest.mark.parametrize("name", SETS)
def test_the_same_seed_writes_the_same_twin_wherever_it_lies(name: str, tmp_path: Path) -> None:
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_twin(name, folder, TwinConfig(count=8, size=64, seed=3))
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        written.append({str(path.relative_to(folder)): sha256_of(path) for path in files})
    assert written[0] == written[1]


@pytest.mark.parametrize("name", SETS)
def test_films_are_equalised_by_default_where_the_protocol_does_it(name: str, twins: Path) -> None:
    film = studies_of(of_twin(twins, name))[0].films[0]
    plain = FilmPixels(film_files(twins / name)[film.film_id]).read()
    expected = equalise(plain) if name in EQUALISED else plain
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(film)).pixels.read(), expected)


@pytest.mark.parametrize("name", EQUALISED)
def test_equalising_can_be_left_and_makes_another_store(name: str, twins: Path) -> None:
    plain = of_twin(twins, name, equalise=False)
    film = studies_of(plain)[0].films[0]
    np.testing.assert_array_equal(film.pixels.read(), FilmPixels(film_files(twins / name)[film.film_id]).read())
    assert plain.fingerprint() != of_twin(twins, name).fingerprint()


@pytest.mark.parametrize("name", SETS)
def test_an_option_that_a_set_does_not_have_is_refused(name: str, twins: Path) -> None:
    with pytest.raises(ConfigError, match="expected_counts"):
        build_source(name, twins / name, {"expected_count": "none"})


def test_a_twin_is_written_and_prepared_by_the_two_commands_that_the_first_one_names(tmp_path: Path) -> None:
    out = tmp_path / "my siim"
    written = CliRunner().invoke(
        app, ["data", "twin", "siim_acr", "--out", str(out), "--count", "8", "--size", "64"], catch_exceptions=False
    )
    command = shlex.split(written.stdout.splitlines()[-1].split(": ", 1)[1])
    assert command[:3] == ["crossray", "data", "prepare"]
    prepared = CliRunner().invoke(app, [*command[1:], "--size", "32", "--workers", "1"], catch_exceptions=False)
    assert prepared.exit_code == 0
    assert "studies out: 8" in prepared.stdout
    store = Store.open(Path(command[-1]))
    masks = [store.mask(row, "pneumothorax") for row in range(8)]
    assert [bool(mask.any()) for mask in masks] == [label == 1.0 for label in store.labels[:, 0]]
