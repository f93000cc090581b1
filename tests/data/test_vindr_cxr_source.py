from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossray.data.sources.vindr_cxr import VindrCxrOptions, VindrCxrSource
from crossray.data.study import Study
from crossray.data.twins.material import TwinStudy
from crossray.data.twins.vindr_cxr import CLASSES
from crossray.errors import DataError
from tests.data.twins import found_in, make_twin, replace_in

TWIN, UNCHECKED = VindrCxrOptions(expected_counts="twin"), VindrCxrOptions(expected_counts="none")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TwinStudy]]:
    folder = tmp_path_factory.mktemp("vindr") / "twin"
    return folder, make_twin("vindr_cxr", folder)


@pytest.fixture
def copy(twin: tuple[Path, list[TwinStudy]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin[0], tmp_path / "copy"))


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "annotations" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def of_split(studies: dict[str, Study], split: str) -> list[Study]:
    return [study for study in studies.values() if study.attributes["publisher_split"] == split]


def test_every_film_of_the_twin_is_read_back(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(VindrCxrSource(twin[0], TWIN))
    assert (found.rejected, found.remarks) == ([], [])
    assert [len(of_split(found.studies, split)) for split in ("train", "test")] == [12, 4]
    for study, made in zip(found.studies.values(), twin[1], strict=True):
        assert (study.patient_id, study.report.text, study.films[0].masks) == (None, "", {})
        assert tuple(study.labels) == CLASSES
        np.testing.assert_array_equal(study.films[0].pixels.read(), made.pixels)


@pytest.mark.parametrize(("agreement", "needed"), [("any", 1), ("majority", 2), ("all", 3)])
def test_a_label_of_train_is_the_vote_of_its_readers(
    twin: tuple[Path, list[TwinStudy]], agreement: str, needed: int
) -> None:
    options = VindrCxrOptions.model_validate({"expected_counts": "twin", "agreement": agreement})
    rows = table(twin[0], "image_labels_train")
    votes_seen = set()
    for study in of_split(found_in(VindrCxrSource(twin[0], options)).studies, "train"):
        for name in CLASSES:
            votes = sum(int(row[name]) for row in rows if row["image_id"] == study.study_id)
            assert study.labels[name] == float(votes >= needed)
            votes_seen.add(votes)
    assert votes_seen == {0, 1, 2, 3}


def test_labels_and_boxes_of_test_are_the_consensus_whatever_the_vote(twin: tuple[Path, list[TwinStudy]]) -> None:
    rows = {row["image_id"]: row for row in table(twin[0], "image_labels_test")}
    drawn = table(twin[0], "annotations_test")
    options = VindrCxrOptions(expected_counts="twin", agreement="all")
    for study in of_split(found_in(VindrCxrSource(twin[0], options)).studies, "test"):
        for name in CLASSES:
            column = "Other disease" if name == "Other diseases" else name
            assert study.labels[name] == float(rows[study.study_id][column])
        named = [row["class_name"] for row in drawn if row["image_id"] == study.study_id]
        assert [box.label for box in study.films[0].boxes] == [name for name in named if name != "No finding"]
        assert "box_readers" not in study.attributes


def test_the_boxes_of_all_readers_are_kept_with_who_drew_them(twin: tuple[Path, list[TwinStudy]]) -> None:
    rows = [row for row in table(twin[0], "annotations_train") if row["class_name"] != "No finding"]
    readers = set()
    for study in of_split(found_in(VindrCxrSource(twin[0], TWIN)).studies, "train"):
        boxes = study.films[0].boxes
        who = study.attributes["box_readers"].split("|") if boxes else []
        readers.add(len(set(who)))
        assert [
            (reader, box.label, box.x_min, box.y_min, box.x_max, box.y_max)
            for reader, box in zip(who, boxes, strict=True)
        ] == [
            (row["rad_id"], row["class_name"], *(float(row[edge]) for edge in ("x_min", "y_min", "x_max", "y_max")))
            for row in rows
            if row["image_id"] == study.study_id
        ]
    assert readers >= {0, 3}


def test_a_class_that_one_part_lacks_is_unknown_there(copy: Path) -> None:
    replace_in(copy / "annotations" / "image_labels_test.csv", "Tuberculosis", "Silicosis")
    source = VindrCxrSource(copy, TWIN)
    assert source.label_names == (*CLASSES, "Silicosis")
    studies = found_in(source).studies
    assert all(np.isnan(study.labels["Silicosis"]) for study in of_split(studies, "train"))
    assert all(np.isnan(study.labels["Tuberculosis"]) for study in of_split(studies, "test"))
    assert not any(np.isnan(study.labels["Edema"]) for study in studies.values())


def test_both_spellings_of_the_readers_column_are_known(copy: Path) -> None:
    replace_in(copy / "annotations" / "image_labels_train.csv", "rad_id", "rad_ID")
    assert VindrCxrSource(copy, TWIN).label_names == CLASSES
    assert len(found_in(VindrCxrSource(copy, TWIN)).studies) == 16


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("image_labels_train", ",0,", ",2,", "is '2', not 0 or 1."),
        ("image_labels_train", ",0,", ",,", "is '', not 0 or 1."),
        ("annotations_train", "No finding,,", "No finding,1,", "a box of 'No finding'."),
        ("annotations_train", "No finding,", "Edema,", "x_min '' is not a number."),
        ("annotations_train", "No finding,,,,", "Edema,9,9,3,12", "has no area."),
        ("annotations_train", "No finding,,,,", ",9,9,13,12", "class_name is empty."),
    ],
)
def test_a_broken_row_leaves_its_film_out_and_is_counted(
    copy: Path, file: str, old: str, new: str, reason: str
) -> None:
    path = copy / "annotations" / f"{file}.csv"
    replace_in(path, old, new)
    found = found_in(VindrCxrSource(copy, UNCHECKED))
    (left_out,) = found.rejected
    assert (left_out.rule, left_out.file) == ("bad_row", str(path))
    assert reason in left_out.reason
    with pytest.raises(DataError, match="studies: 16 expected, 15 found"):
        found_in(VindrCxrSource(copy, TWIN))


def test_a_reader_who_reads_a_film_twice_is_told(copy: Path) -> None:
    path = copy / "annotations" / "image_labels_train.csv"
    text = path.read_text()
    path.write_text(text + text.splitlines()[1] + "\n")
    (left_out,) = found_in(VindrCxrSource(copy, UNCHECKED)).rejected
    assert "one reader has two rows" in left_out.reason


def test_films_and_boxes_without_labels_are_listed(copy: Path) -> None:
    film = next((copy / "test").iterdir())
    film.with_name("another.dicom").write_bytes(film.read_bytes())
    boxes = copy / "annotations" / "annotations_test.csv"
    boxes.write_text(f"{boxes.read_text()}third,Edema,1,1,9,9\n")
    found = found_in(VindrCxrSource(copy, UNCHECKED))
    assert [(item.study_id, item.rule) for item in found.rejected] == [("another", "no_label"), ("third", "no_label")]


def test_a_table_without_rows_is_refused(copy: Path) -> None:
    path = copy / "annotations" / "image_labels_test.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match=r"image_labels_test\.csv: has no rows"):
        VindrCxrSource(copy, TWIN)
