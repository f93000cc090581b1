"""What holds for each small copy of a public set alike; the rest stands in the tests of its own."""

from __future__ import annotations

import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.build import build_source
from crossray.data.sources.picture_copy import label_of
from crossray.data.sources.tables import Row
from crossray.data.store import Store
from crossray.data.twins.build import write_twin
from crossray.data.twins.material import TwinConfig
from crossray.errors import ConfigError, DataError, StudyError
from crossray.files import sha256_of
from tests.data.twins import found_in, make_twins, of_twin, replace_in

# Source -> (what is missing from an empty folder, its table of films)
SETS: dict[str, tuple[str, str]] = {
    "covid_cxr": ("reports.csv; boxes.csv; scores.csv; images/; masks/", "reports.csv"),
    "mhh_covid": ("labels.csv; boxes.csv; images/; masks/lungs/", "labels.csv"),
    "kermany_pneumonia": ("labels.csv; images/; masks/lungs/", "labels.csv"),
    "nih_cxr14_sample": ("labels.csv; boxes.csv; images/", "labels.csv"),
}
WITH_BOXES = [name for name in SETS if "boxes.csv" in SETS[name][0]]
# Source, table, what stands there and what is put in its place, the reason told.
BROKEN = [
    ("covid_cxr", "boxes.csv", ",GeneralBlockchain lung boxes\n", ",\n", "source is empty"),
    ("covid_cxr", "scores.csv", ",4.0\n", "\n", "cells, the header has"),
    ("mhh_covid", "labels.csv", ",CC BY 3.0\n", "\n", "cells, the header has"),
    ("mhh_covid", "labels.csv", ",0,0,CC", ",0,maybe,CC", "died is 'maybe', not 0 or 1"),
    ("mhh_covid", "boxes.csv", "left_lung,", "left_lung,x", "is not a number"),
    ("kermany_pneumonia", "labels.csv", ",bacterial,", ",fungal,", "'fungal' is none of normal, bacterial, viral"),
    ("nih_cxr14_sample", "labels.csv", ",train_val,", ",train,", "nih_split 'train' is not known"),
    ("nih_cxr14_sample", "labels.csv", ",Normal,", ",Healthy,", "rsna_class 'Healthy' is not known"),
    ("nih_cxr14_sample", "labels.csv", ",Normal,", ",Lung Opacity,", "'Lung Opacity' with 0 boxes"),
    ("nih_cxr14_sample", "labels.csv", ",0,1,t", ",1,1,t", "No Finding beside other labels"),
    ("nih_cxr14_sample", "boxes.csv", ",Lung Opacity,", ",Opacity,", "'Opacity' is no class of boxes"),
]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the twin of each set under its name."""
    return make_twins(SETS, tmp_path_factory.mktemp("copies"))


def copy_of(twins: Path, name: str, folder: Path) -> Path:
    return Path(shutil.copytree(twins / name, folder / name))


@pytest.mark.parametrize("name", SETS)
def test_a_wrong_directory_is_told_what_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"missing are {SETS[name][0]}\..*It is a copy of"):
        build_source(name, tmp_path)
    with pytest.raises(ConfigError, match="needs the folder"):
        build_source(name)
    with pytest.raises(ConfigError, match="expected_counts"):
        build_source(name, tmp_path, {"expected_count": "none"})


@pytest.mark.parametrize("name", SETS)
def test_a_twin_is_whole_and_any_part_of_a_copy_is_accepted(name: str, twins: Path, tmp_path: Path) -> None:
    found = found_in(of_twin(twins, name))
    assert (found.rejected, found.remarks) == ([], [])
    folder = copy_of(twins, name, tmp_path)
    first = found_in(of_twin(twins, name)).studies
    next((folder / "images").glob(f"{next(iter(first))}.*")).unlink()
    with pytest.raises(DataError, match=r"studies: \d+ expected, \d+ found"):
        found_in(of_twin(tmp_path, name))
    part = found_in(build_source(name, folder))
    assert part.rules == ["missing_file"]
    assert list(part.studies) == list(first)[1:]


@pytest.mark.parametrize("name", SETS)
def test_a_twin_becomes_a_store_with_every_frontal_film_box_and_mask(name: str, twins: Path, tmp_path: Path) -> None:
    source = of_twin(twins, name)
    frontal = [study for study in found_in(source).studies.values() if study.films[0].view == "frontal"]
    prepare_store(source, tmp_path / "store", PrepareConfig(size=32), workers=1)
    store = Store.open(tmp_path / "store")
    assert list(store.study_ids) == [study.study_id for study in frontal]
    for index, study in enumerate(frontal):
        (row,) = store.films_of(index)
        assert store.patient_ids[index] == study.patient_id
        assert store.attributes(index) == dict(study.attributes)
        assert store.report(index) == study.report
        assert store.film(row).boxes == study.films[0].boxes
        assert set(store.film(row).mask_names) == set(study.films[0].masks)
        np.testing.assert_array_equal(store.labels[index], [study.labels[label] for label in source.label_names])


@pytest.mark.parametrize(("name", "table", "old", "new", "reason"), BROKEN)
def test_a_broken_row_rejects_its_study_alone(
    name: str, table: str, old: str, new: str, reason: str, twins: Path, tmp_path: Path
) -> None:
    folder = copy_of(twins, name, tmp_path)
    whole = len(found_in(of_twin(twins, name)).studies)
    replace_in(folder / table, old, new)
    found = found_in(build_source(name, folder))
    assert (found.rules, len(found.studies)) == (["bad_row"], whole - 1)
    assert reason in found.rejected[0].reason
    assert found.rejected[0].file == str(folder / table)


@pytest.mark.parametrize("name", SETS)
def test_a_row_without_its_patient_is_left_out(name: str, twins: Path, tmp_path: Path) -> None:
    folder = copy_of(twins, name, tmp_path)
    first = next(iter(found_in(of_twin(twins, name)).studies.values()))
    replace_in(folder / SETS[name][1], f",{first.patient_id},", ",,")
    found = found_in(build_source(name, folder))
    assert [(item.study_id, item.rule) for item in found.rejected] == [(first.study_id, "bad_row")]
    assert "patient_id is empty" in found.rejected[0].reason


@pytest.mark.parametrize("name", SETS)
def test_a_film_that_stands_twice_is_used_once_and_one_without_row_is_listed(
    name: str, twins: Path, tmp_path: Path
) -> None:
    folder = copy_of(twins, name, tmp_path)
    table = folder / SETS[name][1]
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join([*lines[:-1], lines[1]]), encoding="utf-8")
    found = found_in(build_source(name, folder))
    assert found.rules == ["bad_row", "no_label"]
    assert "stands there twice" in found.rejected[0].reason
    assert lines[-1].startswith(found.rejected[1].study_id)


@pytest.mark.parametrize("name", WITH_BOXES)
def test_boxes_and_masks_of_films_that_are_not_there_are_told_of(name: str, twins: Path, tmp_path: Path) -> None:
    folder = copy_of(twins, name, tmp_path)
    with (folder / "boxes.csv").open("a", encoding="utf-8") as file:
        file.write("nobody.jpg,left_lung,1,1,2,2,somebody\n")
    (folder / "masks" / "lungs").mkdir(parents=True, exist_ok=True)
    shutil.copy(next(twins.glob("mhh_covid/masks/lungs/*.png")), folder / "masks" / "lungs" / "nobody.png")
    rules = {remark.rule: remark.film_id for remark in found_in(build_source(name, folder)).remarks}
    assert rules == {"mask_of_unknown_film": "nobody", "box_of_unknown_film": "nobody.jpg"}


@pytest.mark.parametrize("name", WITH_BOXES)
def test_the_source_of_every_box_is_told_in_the_order_of_the_boxes(name: str, twins: Path) -> None:
    sources = set()
    for study in found_in(of_twin(twins, name)).studies.values():
        told = study.attributes.get("box_sources", "")
        assert len(told.split("|")) == max(1, len(study.films[0].boxes))
        sources |= set(told.split("|")) - {""}
    assert len(sources) == (1 if name == "mhh_covid" else 2)


@pytest.mark.parametrize("name", SETS)
def test_films_and_masks_can_be_sent_to_other_processes(name: str, twins: Path) -> None:
    films = [study.films[0] for study in found_in(of_twin(twins, name)).studies.values()]
    masked = next(film for film in films if film.masks)
    again = pickle.loads(pickle.dumps(masked))
    for mask in again.masks.values():
        assert mask.read().shape == again.pixels.read().shape


@pytest.mark.parametrize("name", SETS)
def test_the_same_seed_writes_the_same_twin_wherever_it_lies(name: str, tmp_path: Path) -> None:
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        write_twin(name, folder, TwinConfig(count=8, size=64, seed=3))
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        written.append({str(path.relative_to(folder)): sha256_of(path) for path in files})
    assert written[0] == written[1]


@pytest.mark.parametrize("name", SETS)
def test_the_fingerprint_changes_with_each_table_a_film_and_a_mask(name: str, twins: Path, tmp_path: Path) -> None:
    folder = copy_of(twins, name, tmp_path)
    seen = [build_source(name, folder).fingerprint()]
    for table in sorted(folder.glob("*.csv")):
        table.write_text(table.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        seen.append(build_source(name, folder).fingerprint())
    for picture in (next((folder / "images").iterdir()), *sorted(folder.glob("masks/lungs/*.png"))[:1]):
        picture.unlink()
        seen.append(build_source(name, folder).fingerprint())
    assert len(set(seen)) == len(seen)
    assert len(seen) == 1 + len(list(folder.glob("*.csv"))) + 1 + (folder / "masks").is_dir()


def test_a_label_is_0_or_1_or_unknown_where_the_cell_is_empty() -> None:
    row = Row(3, {"a": "1.0", "b": "0", "c": "", "d": "2"})
    assert (label_of(row, "a", Path("t")), label_of(row, "b", Path("t"))) == (1.0, 0.0)
    assert math.isnan(label_of(row, "c", Path("t")))
    with pytest.raises(StudyError, match="d is '2', not 0 or 1"):
        label_of(row, "d", Path("t"))
