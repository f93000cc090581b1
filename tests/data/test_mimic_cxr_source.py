from __future__ import annotations

import gzip
import math
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.build import build_source
from crossray.data.sources.mimic_cxr import MimicCxrOptions, MimicCxrSource
from crossray.data.sources.mimic_files import METADATA, SPLIT, label_table
from crossray.data.store import Store
from crossray.data.twins.files import write_lines
from crossray.data.twins.marks import twin_marks
from crossray.data.twins.material import TwinStudy
from crossray.data.twins.mimic_cxr import (
    film_id,
    film_views,
    is_dicom,
    report_text,
    split_of,
    study_folder,
    study_id,
    subject_id,
)
from crossray.errors import DataError
from tests.data.twins import CONFIG, found_in, make_twin

TWIN, UNCHECKED = MimicCxrOptions(expected_counts="twin"), MimicCxrOptions(expected_counts="none")
VIEWS = {"PA": "frontal", "AP": "frontal", "LATERAL": "lateral", "LL": "lateral", "LAO": "unknown"}
CHEXPERT = label_table("chexpert")[0]
Twin = tuple[Path, list[TwinStudy]]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    folder = tmp_path_factory.mktemp("mimic") / "twin"
    return folder, make_twin("mimic_cxr", folder)


@pytest.fixture
def copy(twin: Twin, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin[0], tmp_path / "copy"))


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Change a gzipped table; it must change."""
    before = gzip.decompress(path.read_bytes()).decode()
    after = change(before)
    assert after != before
    write_lines(path, after)


def test_every_study_of_the_twin_is_read_back(twin: Twin) -> None:
    folder, material = twin
    found = found_in(MimicCxrSource(folder, TWIN))
    assert (found.rejected, found.remarks) == ([], [])
    assert list(found.studies) == [study_id(made) for made in material]
    assert {split_of(made) for made in material} == {"train", "validate", "test"}
    for made, study in zip(material, found.studies.values(), strict=True):
        assert study.patient_id == subject_id(made)
        assert [film.film_id for film in study.films] == [film_id(made, view) for view in film_views(made)]
        assert [film.view for film in study.films] == [VIEWS[view] for view in film_views(made)]
        assert study.attributes["view_position"] == made.view_position
        assert study.attributes["publisher_split"] == split_of(made)
        np.testing.assert_allclose(study.films[0].pixels.read(), made.pixels, atol=30)


def test_reports_of_every_form_give_their_sections(twin: Twin) -> None:
    found = found_in(MimicCxrSource(twin[0], TWIN))
    for made in twin[1]:
        report = found.studies[study_id(made)].report
        assert report.text == report_text(made)
        for name in ("findings", "impression"):
            read = " ".join(s.span.of(report.text) for s in report.sections if s.name == name)
            assert read == made.section(name)
        wet = [s for s in report.sections if "Lines and tubes as seen" in s.span.of(report.text)]
        assert [section.name for section in wet] == ["other"] * (made.number % 3 == 1)


def test_labels_are_those_of_the_labeller_asked_for(copy: Path, twin: Twin) -> None:
    for made, study in zip(twin[1], found_in(MimicCxrSource(copy, TWIN)).studies.values(), strict=True):
        marks = twin_marks(made, CONFIG.seed)
        expected = {name: {"1.0": 1.0, "-1.0": math.nan}.get(mark, 0.0) for name, mark in marks.items()}
        np.testing.assert_equal(dict(study.labels), expected)
        doubted = [name for name, mark in marks.items() if mark == "-1.0"]
        assert study.attributes.get("uncertain", "") == "|".join(doubted)
    edit(copy / label_table("negbio")[0], lambda text: text.replace("-1.0", "1.0"))
    source = build_source("mimic_cxr", copy, {"labeller": "negbio", "expected_counts": "none"})
    assert not any("uncertain" in study.attributes for study in found_in(source).studies.values())


def test_a_study_that_the_labeller_did_not_see_is_unknown(copy: Path, twin: Twin) -> None:
    number = study_id(twin[1][0])
    edit(copy / CHEXPERT, lambda text: "\n".join(line for line in text.splitlines() if number not in line))
    labels = found_in(MimicCxrSource(copy, UNCHECKED)).studies[number].labels
    assert all(math.isnan(value) for value in labels.values())


def test_films_of_mimic_cxr_itself_take_their_view_from_the_header(copy: Path, twin: Twin) -> None:
    for table in copy.glob("mimic-cxr-2.0.0-*"):
        table.unlink()
    source = MimicCxrSource(copy, UNCHECKED)
    assert (source.label_names, source.has_reports) == ((), True)
    found = found_in(source)
    dicom = next(made for made in twin[1] if is_dicom(made))
    study = found.studies[study_id(dicom)]
    assert [film.view for film in study.films] == [VIEWS[view] for view in film_views(dicom)]
    assert (dict(study.labels), dict(study.attributes)) == ({}, {})
    assert found.studies[study_id(twin[1][0])].films[0].view == "unknown"


def test_reports_may_lie_elsewhere(copy: Path, tmp_path: Path) -> None:
    for place in (copy / "mimic-cxr-reports" / "files", tmp_path / "elsewhere" / "files"):
        for report in (copy / "files").rglob("s*.txt"):
            moved = place / report.relative_to(copy / "files")
            moved.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(report, moved)
    for report in (copy / "files").rglob("s*.txt"):
        report.unlink()
    assert MimicCxrSource(copy, TWIN).has_reports
    shutil.rmtree(copy / "mimic-cxr-reports")
    silent = MimicCxrSource(copy, TWIN)
    assert not silent.has_reports
    assert {study.report.text for study in found_in(silent).studies.values()} == {""}
    given = MimicCxrSource(copy, MimicCxrOptions(expected_counts="twin", reports=tmp_path / "elsewhere"))
    assert all(study.report.text for study in found_in(given).studies.values())
    with pytest.raises(DataError, match=r"no report of these studies.*mimic-cxr-reports.zip"):
        assert MimicCxrSource(copy, MimicCxrOptions(reports=tmp_path)).has_reports


def test_the_twin_becomes_a_store_of_its_frontal_films(twin: Twin, tmp_path: Path) -> None:
    source = build_source("mimic_cxr", twin[0], {"expected_counts": "twin"})
    summary = prepare_store(source, tmp_path / "store", PrepareConfig(size=32), workers=1)
    store = Store.open(tmp_path / "store")
    assert (len(store), store.film_count, summary.funnel.study_rules) == (len(twin[1]), len(twin[1]), {})
    assert store.attributes(3)["publisher_split"] == split_of(twin[1][3])


@pytest.mark.parametrize(
    ("table", "old", "new", "reason"),
    [
        (METADATA[0], ",50414267,", ",,", "name no film"),
        (METADATA[0], ",Erect\n", ",Erect,Erect\n", "has 13 cells, the header has 12"),
        (CHEXPERT, ",1.0", ",3.0", "is '3.0', not 1, 0, -1 or blank"),
    ],
)
def test_a_broken_row_is_rejected_and_counted(copy: Path, table: str, old: str, new: str, reason: str) -> None:
    edit(copy / table, lambda text: text.replace(old, new, 1))
    found = found_in(MimicCxrSource(copy, UNCHECKED))
    assert found.rules == ["bad_row"]
    assert reason in found.rejected[0].reason
    assert found.rejected[0].file == str(copy / table)
    with pytest.raises(DataError, match=r"images: \d+ expected, \d+ found"):
        found_in(MimicCxrSource(copy, TWIN))


def test_with_a_broken_row_goes_its_study_listed_once(copy: Path, twin: Twin) -> None:
    made = next(made for made in twin[1] if len(film_views(made)) == 3)
    for view in film_views(made):  # one broken row more each time
        edit(copy / METADATA[0], partial(re.sub, rf"(?m)^({film_id(made, view)},.*)$", r"\1,more"))
        found = found_in(MimicCxrSource(copy, UNCHECKED))
        assert [(item.rule, item.study_id) for item in found.rejected] == [("bad_row", study_id(made))]
        assert (len(found.studies), study_id(made) in found.studies) == (len(twin[1]) - 1, False)


def test_missing_films_and_reports_are_told_of(copy: Path, twin: Twin) -> None:
    first, second = twin[1][:2]
    lost = copy / study_folder(first) / f"{film_id(first, first.view_position)}.jpg"
    lost.unlink()
    (copy / f"{study_folder(second)}.txt").unlink()
    found = found_in(MimicCxrSource(copy, UNCHECKED))
    assert [(item.rule, item.study_id, item.film_id) for item in found.rejected] == [
        ("missing_file", study_id(first), lost.stem)
    ]
    assert [(remark.rule, remark.study_id) for remark in found.remarks] == [("no_report_file", study_id(second))]
    assert found.studies[study_id(second)].report.text == ""
    with pytest.raises(DataError, match=r"images: \d+ expected.*expected_counts=twin, or none"):
        found_in(MimicCxrSource(copy, TWIN))


def test_a_wrong_folder_lists_what_is_missing(copy: Path, tmp_path: Path) -> None:
    (copy / SPLIT[0]).unlink()
    (copy / CHEXPERT).unlink()
    with pytest.raises(DataError, match=r"missing are .*split.csv.gz or .*; .*chexpert.csv.gz or .*physionet"):
        MimicCxrSource(copy)
    with pytest.raises(DataError, match=r"missing are files/; .*metadata.csv.gz or .*cxr-record-list.csv"):
        MimicCxrSource(tmp_path)


def test_the_fingerprint_changes_with_a_report_an_option_and_a_table(copy: Path, twin: Twin) -> None:
    seen = {MimicCxrSource(copy, TWIN).fingerprint(), MimicCxrSource(copy).fingerprint()}
    assert len(seen) == 1
    seen.add(MimicCxrSource(copy, MimicCxrOptions(labeller="negbio")).fingerprint())
    (copy / f"{study_folder(twin[1][0])}.txt").write_text("IMPRESSION: Nothing.")
    seen.add(MimicCxrSource(copy).fingerprint())
    edit(copy / SPLIT[0], lambda text: text.replace("train", "test", 1))
    seen.add(MimicCxrSource(copy).fingerprint())
    assert len(seen) == 4
