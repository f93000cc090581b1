from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.selection import select_studies
from crossray.data.sources.covid_cxr import CovidCxrOptions, CovidCxrSource, view_of
from crossray.data.sources.covid_cxr_notes import LABELS, credit_of, finding_labels, note_report
from crossray.data.store import Store
from crossray.data.text import TextConfig, select_text
from crossray.data.twins.covid_cxr import CREDIT, FINDINGS, film_boxes, film_masks, finding, has_lateral, stem, view
from crossray.data.twins.material import TwinStudy
from tests.data.twins import Found, found_in, make_twin

TWIN = CovidCxrOptions(expected_counts="twin")
LUNG_BOXES, STRUCTURES = "GeneralBlockchain lung boxes", "GeneralBlockchain segmentations"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TwinStudy]]:
    folder = tmp_path_factory.mktemp("covid-cxr") / "twin"
    return folder, make_twin("covid_cxr", folder)


def test_every_film_of_the_twin_is_read_back(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(CovidCxrSource(twin[0], TWIN)).studies
    assert len(found) == len(twin[1]) + sum(map(has_lateral, twin[1]))
    for made in twin[1]:
        study = found[stem(made)]
        (film,) = study.films
        assert (study.patient_id, film.view) == (str(made.patient + 1), "frontal" if view(made) else "unknown")
        assert {name for name, value in study.labels.items() if value == 1.0} == set(FINDINGS[finding(made)])
        assert film.boxes == tuple(box for boxes in film_boxes(made).values() for box in boxes)
        assert film.masks.keys() == film_masks(made).keys()
        for name, mask in film_masks(made).items():
            np.testing.assert_array_equal(film.masks[name].read(), mask)
        assert study.attributes["sex"] == made.sex
        assert study.attributes.get("finding", "") == finding(made)
        assert study.attributes.get("view_position", "") == view(made)


def test_a_lateral_film_is_a_study_with_the_note_of_the_frontal_one(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(CovidCxrSource(twin[0], TWIN)).studies
    for made in filter(has_lateral, twin[1]):
        lateral, frontal = found[f"{stem(made)}-lateral"], found[stem(made)]
        assert lateral.films[0].view == "lateral"
        assert (lateral.report, lateral.patient_id) == (frontal.report, frontal.patient_id)
        assert "view_position" not in lateral.attributes


def test_answers_that_are_none_are_left_out_and_scores_are_kept(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(CovidCxrSource(twin[0], TWIN)).studies
    values = {
        name: Counter(study.attributes.get(name) for study in found.values()) for name in ("survival", "intubated")
    }
    assert {*values["survival"], *values["intubated"]} == {"Y", "N", None}
    offsets = {study.attributes.get("offset_days", "") for study in found.values()}
    assert {"", "0"} < offsets
    assert "?" not in offsets
    scored = [study.attributes for made in twin[1] if made.number % 3 == 1 for study in [found[stem(made)]]]
    assert all(float(told["brixia_S-Global"]) <= 3 and told["opacity_mean"] == "4.0" for told in scored)
    assert not any("geographic_extent_mean" in told for told in scored)


def test_boxes_of_one_kind_can_be_taken_and_make_another_store(twin: tuple[Path, list[TwinStudy]]) -> None:
    sources = {
        kind: CovidCxrSource(twin[0], CovidCxrOptions(expected_counts="none", boxes=kind))
        for kind in ("all", "lungs", "structures")
    }
    for made in twin[1]:
        boxes = {kind: found_in(source).studies[stem(made)].films[0].boxes for kind, source in sources.items()}
        assert boxes["lungs"] == tuple(film_boxes(made).get(LUNG_BOXES, ()))
        assert boxes["structures"] == tuple(film_boxes(made).get(STRUCTURES, ()))
        assert boxes["all"] == boxes["lungs"] + boxes["structures"]
    assert len({source.fingerprint() for source in sources.values()}) == 3


def test_no_study_falls_for_want_of_a_description(twin: tuple[Path, list[TwinStudy]]) -> None:
    source = CovidCxrSource(twin[0], TWIN)
    selection = select_studies(source, ("frontal", "lateral", "unknown"))
    assert (selection.events, len(selection.studies)) == ([], len(found_in(source).studies))


def test_a_note_with_headings_is_cut_and_one_without_stays_whole() -> None:
    cut = note_report("Presentation: Fever. . Imaging Notes: Clear lungs.. Discussion: Went home.", CREDIT)
    assert [section.name for section in cut.sections] == ["indication", "findings", "other"]
    assert select_text(cut, TextConfig()).text == "Clear lungs.."
    plain = note_report("Fever. Clear lungs.", "")
    assert [section.name for section in plain.sections] == ["other"]


def test_a_note_whose_only_heading_opens_the_history_is_read_whole() -> None:
    report = note_report("Presentation: Short of breath. Opacities in both mid zones.", "")
    assert [section.name for section in report.sections] == ["other"]
    assert [sentence.span.of(report.text) for sentence in report.sentences][-1] == "Opacities in both mid zones."
    assert select_text(report, TextConfig()).text == report.text


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ("Case courtesy of Dr Nobody, Radiopaedia.org, rID: 1", "A note."),
        ("Credit to N. Nobody", "A note."),
        ("? Department of Radiology, 2020", "A note."),
        ("Opacity in the right lower lobe.", "A note.\nOpacity in the right lower lobe."),
        ("", "A note."),
    ],
)
def test_the_other_note_is_text_unless_it_is_a_credit(other: str, text: str) -> None:
    assert note_report("A note.", other).text == text
    assert credit_of(other) == (other if text == "A note." else "")


@pytest.mark.parametrize(
    ("finding", "values"),
    [
        ("COVID-19", (1, 0, 1, 0)),
        ("COVID-19, ARDS", (1, 0, 1, 0)),
        ("Pneumonia/Viral/COVID-19", (1, 0, 1, 0)),
        ("Klebsiella", (0, 1, 1, 0)),
        ("Pneumonia/Bacterial/E.Coli", (0, 1, 1, 0)),
        ("Pneumocystis", (0, 0, 1, 0)),
        ("Pneumonia", (math.nan, math.nan, 1, 0)),
        ("ARDS", (math.nan, math.nan, math.nan, 0)),
        ("Tuberculosis", (math.nan, math.nan, math.nan, 0)),
        ("No Finding", (0, 0, 0, 1)),
        ("", (math.nan, math.nan, math.nan, math.nan)),
        ("todo", (math.nan, math.nan, math.nan, math.nan)),
    ],
)
def test_a_finding_settles_what_it_names(finding: str, values: tuple[float, ...]) -> None:
    np.testing.assert_array_equal([finding_labels(finding)[name] for name in LABELS], values)


@pytest.mark.parametrize(
    ("written", "view"),
    [("PA", "frontal"), ("AP Supine", "frontal"), ("L", "lateral"), ("", "unknown"), ("Axial", "unknown")],
)
def test_a_view_is_frontal_lateral_or_unknown(written: str, view: str) -> None:
    assert view_of(written) == view


@pytest.fixture(scope="module")
def real(real_data: Path) -> Found:
    return found_in(CovidCxrSource(real_data / "covid_cxr"))


@pytest.mark.real_data
def test_the_copy_at_hand_has_the_counts_of_its_readme(real: Found) -> None:
    studies = list(real.studies.values())
    assert (real.rejected, real.remarks) == ([], [])
    assert (len(studies), len({study.patient_id for study in studies})) == (222, 114)
    assert Counter(study.films[0].view for study in studies) == {"frontal": 153, "lateral": 36, "unknown": 33}
    masks = Counter(name for study in studies for name in study.films[0].masks)
    assert (masks["lungs"], masks.total() - masks["lungs"], masks["ground_glass_opacities"]) == (85, 213, 34)
    boxes = Counter(
        source for study in studies for source in study.attributes.get("box_sources", "").split("|") if source
    )
    assert boxes == {LUNG_BOXES: 362, STRUCTURES: 220}
    assert sum("brixia_S-Global" in study.attributes or "opacity_mean" in study.attributes for study in studies) == 68
    assert Counter(study.attributes["license"] for study in studies)["CC BY-NC-SA"] == 152
    present = Counter(name for study in studies for name, value in study.labels.items() if value == 1.0)
    assert present == {"COVID-19": 95, "Bacterial Pneumonia": 33, "Pneumonia": 149, "No Finding": 3}
    assert sum(math.isnan(study.labels["COVID-19"]) for study in studies) == 72


@pytest.mark.real_data
def test_the_notes_at_hand_are_read_without_their_credits(real: Found) -> None:
    studies = list(real.studies.values())
    assert sum("credit" in study.attributes for study in studies) == 172
    assert not [study for study in studies if "courtesy" in study.report.text.lower()]
    assert all(20 <= len(study.report.text) <= 1300 for study in studies)
    sections = Counter(section.name for study in studies for section in study.report.sections)
    assert sections["findings"] == 52
    assert all(select_text(study.report, TextConfig()).text for study in studies)


@pytest.mark.real_data
def test_the_copy_at_hand_is_prepared_whole(real_data: Path, tmp_path: Path) -> None:
    source = CovidCxrSource(real_data / "covid_cxr")
    summary = prepare_store(source, tmp_path / "store", PrepareConfig(size=32), workers=1)
    assert (summary.manifest.studies, summary.manifest.films) == (153, 153)
    assert summary.funnel.study_rules == {"no_film_of_wanted_view": 36, "view_unknown": 33}
    store = Store.open(tmp_path / "store")
    assert len({*store.patient_ids}) == 98
    films = [store.film(row) for row in range(store.film_count)]
    assert (sum(len(film.boxes) for film in films), sum(len(film.mask_names) for film in films)) == (526, 298)
    assert [(store.labels[:, k] == 1).sum() for k in range(4)] == [85, 23, 123, 3]
    assert [(store.labels[:, k] == 0).sum() for k in range(4)] == [39, 101, 3, 125]
