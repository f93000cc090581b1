from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from crossray.data.findings import FINDINGS
from crossray.data.images import PhotographPixels
from crossray.data.sources.build import build_source
from crossray.data.sources.chexpert import ChexpertOptions, ChexpertSource
from crossray.data.sources.chexpert_marks import MarkPolicy, labels_of_marks, marks_of
from crossray.data.sources.chexpert_table import place_of
from crossray.data.sources.chexphoto import ChexphotoOptions, ChexphotoSource
from crossray.data.twins.chexpert import film_paths, has_sections, split_of, study_folder
from crossray.data.twins.chexphoto import marks_of as photo_marks
from crossray.data.twins.chexphoto import photograph, photos_of
from crossray.data.twins.marks import certain, twin_marks
from crossray.data.twins.material import TwinStudy
from crossray.errors import DataError, StudyError
from tests.data.twins import CONFIG, found_in, make_twin, replace_in

TWIN, UNCHECKED = ChexpertOptions(expected_counts="twin"), ChexpertOptions(expected_counts="none")
Twin = tuple[Path, list[TwinStudy]]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    folder = tmp_path_factory.mktemp("chexpert") / "twin"
    return folder, make_twin("chexpert", folder)


@pytest.fixture
def copy(twin: Twin, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin[0], tmp_path / "copy"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    folder = tmp_path_factory.mktemp("chexphoto") / "twin"
    return folder, make_twin("chexphoto", folder)


def test_every_study_of_the_twin_is_read_back(twin: Twin) -> None:
    folder, material = twin
    assert {split_of(made) for made in material} == {"train", "valid", "test"}
    found = found_in(ChexpertSource(folder, TWIN))
    assert (found.rejected, found.remarks) == ([], [])
    assert len(found.studies) == len(material)
    for made in material:
        study, split = found.studies[study_folder(made).replace("/", "_")], split_of(made)
        assert study.patient_id == f"patient{made.patient + 1:05d}"
        assert [film.film_id for film in study.films] == film_paths(made)
        assert [film.view for film in study.films] == ["frontal", "lateral"][: len(study.films)]
        assert study.attributes["publisher_split"] == {"valid": "validate"}.get(split, split)
        facts = {"sex": made.sex, "age": str(made.age), "view_position": made.view_position}
        assert facts.items() <= study.attributes.items() or split == "test"
        np.testing.assert_allclose(study.films[0].pixels.read(), made.pixels, atol=30)


def test_marks_become_labels_and_doubts_are_told_apart_from_silence(twin: Twin) -> None:
    folder, material = twin
    doubts = 0
    found = found_in(ChexpertSource(folder, TWIN))
    for made in material:
        study = found.studies[study_folder(made).replace("/", "_")]
        marks = twin_marks(made, CONFIG.seed) if split_of(made) == "train" else certain(made)
        doubted = [name for name, mark in marks.items() if mark == "-1.0"]
        assert study.attributes.get("uncertain", "") == "|".join(doubted)
        for name, mark in marks.items():
            expected = {"1.0": 1.0, "0.0": 0.0, "": 0.0, "-1.0": math.nan}[mark]
            np.testing.assert_equal(study.labels[name], expected)
        doubts += len(doubted)
    assert doubts > 0


def test_reports_come_from_sections_or_from_the_whole_text(twin: Twin) -> None:
    found = found_in(ChexpertSource(twin[0], TWIN))
    kinds = set()
    for made in twin[1]:
        report = found.studies[study_folder(made).replace("/", "_")].report
        if split_of(made) == "test":
            assert report.text == ""
            continue
        sections = {section.name: section.span.of(report.text) for section in report.sections}
        assert sections.get("findings", "") == made.section("findings")
        assert made.section("impression") in sections["impression"]
        kinds.add(report.text.startswith("NARRATIVE"))
        assert report.text.startswith("NARRATIVE") != has_sections(made)
    assert kinds == {True, False}


def test_without_the_table_of_reports_studies_carry_an_empty_one(copy: Path, tmp_path: Path) -> None:
    table = (copy / "df_chexpert_plus_240401.csv").rename(tmp_path / "reports.csv")
    silent = ChexpertSource(copy, TWIN)
    assert not silent.has_reports
    assert {study.report.text for study in found_in(silent).studies.values()} == {""}
    elsewhere = build_source("chexpert", copy, {"expected_counts": "twin", "reports": str(table)})
    assert elsewhere.has_reports
    assert sum(bool(study.report.text) for study in found_in(elsewhere).studies.values()) > 8
    with pytest.raises(DataError, match="no such table of reports"):
        ChexpertSource(copy, ChexpertOptions(reports=tmp_path / "nowhere.csv"))


def test_published_counts_are_those_of_all_three_parts(copy: Path) -> None:
    with pytest.raises(DataError, match=r"images: 224316 expected.*patients: 65240 expected.*expected_counts=twin"):
        found_in(ChexpertSource(copy))
    (copy / "test.csv").unlink()
    assert {study.attributes["publisher_split"] for study in found_in(ChexpertSource(copy)).studies.values()} == {
        "train",
        "validate",
    }


@pytest.mark.parametrize(
    ("old", "new", "reason", "left"),
    [
        ("/study1/view1_frontal.jpg,", "/stdy1/view1_frontal.jpg,", "is not of the form", 16),
        ("Frontal,PA", "Frontal,PA,", "has 20 cells, the header has 19", 15),
        (",1.0,", ",2.0,", "is '2.0', not 1, 0, -1 or blank", 15),
    ],
)
def test_a_broken_row_is_rejected_and_counted(copy: Path, old: str, new: str, reason: str, left: int) -> None:
    replace_in(copy / "train.csv", old, new)
    found = found_in(ChexpertSource(copy, UNCHECKED))
    # The first study has a lateral film too: without its frontal row it stays, with one film.
    assert (len(found.studies), found.rules) == (left, ["bad_row"])
    assert reason in found.rejected[0].reason
    assert (found.rejected[0].film_id is not None) == (left == 16), "a film left out while its study stays"
    with pytest.raises(DataError, match="images: 22 expected"):
        found_in(ChexpertSource(copy, TWIN))


def test_films_of_a_study_with_different_labels_are_refused(copy: Path) -> None:
    lines = (copy / "train.csv").read_text().splitlines()
    second = next(number for number, line in enumerate(lines) if "lateral" in line)
    lines[second] = lines[second].rpartition(",")[0] + ",-1.0"
    (copy / "train.csv").write_text("\n".join(lines))
    found = found_in(ChexpertSource(copy, UNCHECKED))
    assert "labels differ from those of row" in found.rejected[0].reason
    assert len(found.studies) == 15


def test_a_missing_film_leaves_its_study_the_others(copy: Path) -> None:
    lateral = next(copy.glob("train/*/*/view2_lateral.jpg"))
    lateral.unlink()
    found = found_in(ChexpertSource(copy, UNCHECKED))
    assert [(item.rule, item.film_id) for item in found.rejected] == [("missing_file", str(lateral.relative_to(copy)))]
    assert len(found.studies) == 16
    with pytest.raises(DataError, match=r"images: 22 expected, 21 found.*none"):
        found_in(ChexpertSource(copy, TWIN))


@pytest.mark.parametrize("kind", [ChexpertSource, ChexphotoSource])
def test_a_wrong_folder_lists_what_is_missing(kind: type[ChexpertSource | ChexphotoSource], tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    with pytest.raises(DataError, match=r"missing are valid.csv; train/; valid/.*https://stanford"):
        kind(tmp_path)


def test_policies_treat_doubt_and_silence_as_asked(tmp_path: Path) -> None:
    cells = {**dict.fromkeys(FINDINGS, ""), "Edema": "-1.0", "Cardiomegaly": "-1", "Fracture": "-1.0", "Pneumonia": "1"}
    marks = marks_of(cells, tmp_path, 1)
    names = ("Edema", "Cardiomegaly", "Fracture", "Pneumonia", "Atelectasis")

    def labels(policy: MarkPolicy) -> list[float]:
        made = labels_of_marks(marks, policy)
        assert tuple(made) == FINDINGS
        return [made[name] for name in names]

    nan = math.nan
    np.testing.assert_equal(labels(MarkPolicy()), [nan, nan, nan, 1.0, 0.0])
    np.testing.assert_equal(labels(MarkPolicy(uncertain="present")), [1.0, 1.0, 1.0, 1.0, 0.0])
    np.testing.assert_equal(labels(MarkPolicy(uncertain="absent", not_mentioned="unknown")), [0.0, 0.0, 0.0, 1.0, nan])
    np.testing.assert_equal(labels(MarkPolicy(uncertain="competition")), [1.0, 0.0, nan, 1.0, 0.0])
    assert math.isnan(labels_of_marks({}, MarkPolicy())["Edema"])
    with pytest.raises(StudyError, match="'x', not 1"):
        marks_of({"Edema": "x"}, tmp_path, 1)


@pytest.mark.parametrize(
    ("path", "study_id"),
    [
        ("CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg", "patient00001_study1"),
        ("valid/patient64541/study1/view1_frontal.png", "patient64541_study1"),
        ("CheXphoto-v1.1/train/natural/iphone/patient1/study2/view2_lateral.jpg", "natural_iphone_patient1_study2"),
    ],
)
def test_a_path_tells_the_study_whatever_stands_before_it(path: str, study_id: str) -> None:
    place = place_of(path)
    assert place is not None
    assert place.study_id == study_id
    assert path.endswith(place.path)
    assert place_of(path.replace("patient", "person")) is None


def test_every_photograph_is_a_study_of_its_film_s_patient(photos: Twin) -> None:
    folder, material = photos
    found = found_in(ChexphotoSource(folder, ChexphotoOptions(expected_counts="twin")))
    photographs = sum(len(photos_of(made)) for made in material)
    assert (found.rejected, found.remarks, len(found.studies)) == ([], [], photographs)
    for made in material:
        for photo in photos_of(made):
            study = found.studies["_".join((*photo.split("/"), *study_folder(made).split("/")))]
            assert (study.patient_id, study.attributes["photo"]) == (f"patient{made.patient + 1:05d}", photo)
            assert (study.films[0].view, study.report.text) == ("frontal", "")
            assert study.attributes["view_position"] == made.view_position
            positive = {name for name, value in study.labels.items() if value == 1.0}
            assert positive == {name for name, mark in photo_marks(made, CONFIG.seed).items() if mark == "1.0"}
            grey = photograph(made, photo).astype(float) @ [0.299, 0.587, 0.114]
            np.testing.assert_allclose(study.films[0].pixels.read(), grey, atol=30)


def test_photographs_of_one_kind_may_be_asked_for(photos: Twin) -> None:
    source = build_source("chexphoto", photos[0], {"expected_counts": "none", "photos": "natural"})
    kinds = {study.attributes["photo"] for study in found_in(source).studies.values()}
    assert kinds == {"natural/iphone", "natural/nokia", "natural/oneplus"}
    with pytest.raises(DataError, match=r"training radiographs: 10507 expected.*training patients: 3000 expected"):
        found_in(ChexphotoSource(photos[0]))


def test_a_photograph_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("<html>")
    with pytest.raises(StudyError, match="a web page"):
        PhotographPixels(tmp_path / "photo.jpg").read()
