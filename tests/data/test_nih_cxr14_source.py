from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from crossray.data.equalise import equalise
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.build import build_source
from crossray.data.sources.nih_cxr14 import (
    BOX_CLASSES,
    BOXES,
    DATA_ENTRY,
    PUBLISHED,
    NihCxr14Options,
    NihCxr14Source,
)
from crossray.data.store import Store
from crossray.data.twins.material import TwinStudy
from crossray.data.twins.nih_cxr14 import film_name, is_test, nih_boxes, nih_labels
from crossray.errors import DataError
from tests.data.twins import found_in, make_twin, replace_in

TWIN, UNCHECKED = NihCxr14Options(expected_counts="twin"), NihCxr14Options(expected_counts="none")
ENTRIES = DATA_ENTRY[0]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TwinStudy]]:
    folder = tmp_path_factory.mktemp("nih") / "twin"
    return folder, make_twin("nih_cxr14", folder)


@pytest.fixture
def copy(twin: tuple[Path, list[TwinStudy]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin[0], tmp_path / "copy"))


def test_every_study_of_the_twin_is_read_back(twin: tuple[Path, list[TwinStudy]]) -> None:
    folder, material = twin
    found = found_in(NihCxr14Source(folder, TWIN))
    assert (found.rejected, found.remarks) == ([], [])
    assert list(found.studies) == [film_name(study)[:-4] for study in material]
    for study, made in zip(found.studies.values(), material, strict=True):
        (film,) = study.films
        assert {name for name, value in study.labels.items() if value == 1.0} == set(nih_labels(made))
        assert (study.patient_id, study.report.text, film.view) == (str(made.patient + 1), "", "frontal")
        assert study.attributes == {
            "sex": made.sex,
            "age": str(made.age),
            "view_position": made.view_position,
            "publisher_split": "test" if is_test(made) else "train",
        }
        assert film.boxes == tuple(nih_boxes(made))
        np.testing.assert_array_equal(film.pixels.read(), made.pixels)


def test_films_are_equalised_on_request_for_another_store(twin: tuple[Path, list[TwinStudy]]) -> None:
    source = NihCxr14Source(twin[0], NihCxr14Options(expected_counts="twin", equalise=True))
    for study, made in zip(found_in(source).studies.values(), twin[1], strict=True):
        np.testing.assert_array_equal(study.films[0].pixels.read(), equalise(made.pixels))
    assert source.fingerprint() != NihCxr14Source(twin[0], TWIN).fingerprint()


def test_masks_are_the_filled_boxes_of_each_class(twin: tuple[Path, list[TwinStudy]]) -> None:
    films = [study.films[0] for study in found_in(NihCxr14Source(twin[0], TWIN)).studies.values()]
    boxed = next(film for film in films if film.boxes)
    for name, mask in boxed.masks.items():
        drawn = np.zeros(boxed.pixels.read().shape, dtype=np.uint8)
        for box in boxed.boxes:
            if box.label == name:
                drawn[int(box.y_min) : int(box.y_max), int(box.x_min) : int(box.x_max)] = 255
        np.testing.assert_array_equal(mask.read(), drawn)
    assert {box.label for box in boxed.boxes} == set(boxed.masks)


def test_a_set_without_reports_becomes_a_store_with_boxes_masks_and_attributes(
    twin: tuple[Path, list[TwinStudy]], tmp_path: Path
) -> None:
    source = build_source("nih_cxr14", twin[0], {"expected_counts": "twin"})
    summary = prepare_store(source, tmp_path / "store", PrepareConfig(size=32), workers=1)
    store = Store.open(tmp_path / "store")
    assert (len(store), summary.funnel.study_rules) == (len(twin[1]), {})
    number, made = next((number, made) for number, made in enumerate(twin[1]) if nih_boxes(made))
    assert store.attributes(number)["sex"] == made.sex
    assert set(store.film(number).mask_names) == {box.label for box in nih_boxes(made)}


def test_the_published_counts_are_the_default_and_a_twin_has_others(twin: tuple[Path, list[TwinStudy]]) -> None:
    with pytest.raises(DataError, match=r"images: 112120 expected, 16 found.*expected_counts=twin"):
        found_in(NihCxr14Source(twin[0]))
    assert sum(BOX_CLASSES.values()) == PUBLISHED["boxes"]


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        (ENTRIES, "No Finding", "No Fnding", "'No Fnding' is none of the labels"),
        (ENTRIES, "No Finding", "No Finding|Edema", "beside other labels"),
        (ENTRIES, ",0.143\n", "\n", "has 10 cells, the header has 11"),
        (BOXES, "Effusion", "Efusion", "'Efusion' is no class of boxes"),
        (BOXES, ".0,,,", ".x,,,", "is not a number"),
    ],
)
def test_a_broken_row_rejects_its_study_and_is_counted(copy: Path, file: str, old: str, new: str, reason: str) -> None:
    replace_in(copy / file, old, new)
    found = found_in(NihCxr14Source(copy, UNCHECKED))
    assert (found.rules, len(found.studies)) == (["bad_row"], 15)
    assert reason in found.rejected[0].reason
    assert found.rejected[0].file == str(copy / file)
    with pytest.raises(DataError, match="studies: 16 expected, 15 found"):
        found_in(NihCxr14Source(copy, TWIN))


def test_a_missing_film_is_listed_and_a_partial_download_told_of(copy: Path) -> None:
    next(copy.glob("images_001/images/*.png")).unlink()
    assert found_in(NihCxr14Source(copy, UNCHECKED)).rules == ["missing_file"]
    with pytest.raises(DataError, match=r"images: 16 expected, 15 found.*expected_counts"):
        found_in(NihCxr14Source(copy, TWIN))


def test_boxes_of_a_film_without_row_are_told_of(copy: Path) -> None:
    unknown = [f"0000999{number}_000.png" for number in range(9, -1, -1)]
    with (copy / BOXES).open("a", encoding="utf-8") as file:
        file.writelines(f"{name},Mass,1.0,1.0,2.0,2.0,,,\n" for name in unknown)
    remarks = found_in(NihCxr14Source(copy, UNCHECKED)).remarks
    assert [(remark.rule, remark.film_id) for remark in remarks] == [
        ("box_of_unknown_film", name) for name in sorted(unknown)
    ]


def test_a_film_without_row_is_listed(copy: Path) -> None:
    first = (copy / ENTRIES).read_text(encoding="utf-8").splitlines()[1]
    replace_in(copy / ENTRIES, f"{first}\n", "")
    found = found_in(NihCxr14Source(copy, UNCHECKED))
    stem = first.partition(".")[0]
    assert [(item.study_id, item.rule) for item in found.rejected] == [(stem, "no_label")]
    assert (len(found.studies), stem in found.studies) == (15, False)


def test_a_wrong_folder_lists_what_is_missing(copy: Path, tmp_path: Path) -> None:
    (copy / BOXES).unlink()
    shutil.rmtree(copy / "images_001")
    shutil.rmtree(copy / "images_002")
    with pytest.raises(DataError, match=r"missing are BBox_List_2017.csv; images/ or images_\*/images/.*nihcc"):
        NihCxr14Source(copy)
    with pytest.raises(DataError, match="no such folder"):
        NihCxr14Source(tmp_path / "nowhere")


def test_the_fingerprint_changes_with_a_list_and_a_film(copy: Path) -> None:
    seen = {NihCxr14Source(copy, TWIN).fingerprint(), NihCxr14Source(copy, UNCHECKED).fingerprint()}
    assert len(seen) == 1
    replace_in(copy / "test_list.txt", "\n", "\n\n")
    seen.add(NihCxr14Source(copy).fingerprint())
    next(copy.glob("images_001/images/*.png")).unlink()
    seen.add(NihCxr14Source(copy).fingerprint())
    assert len(seen) == 3


@pytest.mark.real_data
def test_rows_of_the_published_tables_are_read(real_data: Path, tmp_path: Path) -> None:
    home = real_data / "nih_cxr14"
    for name in (ENTRIES, BOXES):
        (tmp_path / name).symlink_to(home / "original_format" / name)
    with (home / "labels.csv").open(encoding="utf-8") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    stems = {name.partition(".")[0]: row for name, row in rows.items()}
    for name, sides in (("train_val_list.txt", "train"), ("test_list.txt", "test")):
        listed = [f"{stem}.png" for stem, row in stems.items() if row["nih_split"].startswith(sides)]
        (tmp_path / name).write_text("\n".join(listed))
    (tmp_path / "images").mkdir()
    for stem in stems:
        (tmp_path / "images" / f"{stem}.png").symlink_to(home / "images" / f"{stem}.jpg")
    found = found_in(NihCxr14Source(tmp_path, UNCHECKED))
    assert (found.rejected, found.remarks, set(found.studies)) == ([], [], set(stems))
    boxes = [box.label for study in found.studies.values() for box in study.films[0].boxes]
    assert (len(boxes), len([s for s in found.studies.values() if s.films[0].boxes])) == (34, 29)
    positives = Counter(name for study in found.studies.values() for name, value in study.labels.items() if value == 1)
    assert (positives["Pneumonia"], positives["No Finding"], positives["Infiltration"]) == (365, 385, 139)
    for stem, row in stems.items():
        study = found.studies[stem]
        assert study.attributes["sex"] == row["sex"]
        assert study.attributes["view_position"] == row["view"]
        assert study.attributes["publisher_split"] == row["nih_split"].removesuffix("_val")
