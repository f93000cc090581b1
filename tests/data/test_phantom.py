"""Studies of the phantom: truth, report and film agree, and nothing depends on what was asked for before."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from crossray.data.findings import FINDINGS
from crossray.data.phantom.build import PhantomKey, case_labels, first_visit, plan_film, study_case
from crossray.data.phantom.case import CLASS_OF
from crossray.data.phantom.contact_sheet import contact_sheet
from crossray.data.phantom.draws import Draws, Stream
from crossray.data.phantom.phrases import tables
from crossray.data.phantom.presets import PRESETS, Difficulty
from crossray.data.phantom.render import finding_parts
from crossray.data.phantom.reports import write_report
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.study import Study

NAMES_OF = {
    "Cardiomegaly": r"cardiomegaly|heart|cardi",
    "Pleural Effusion": r"effusion|fluid|costophrenic",
    "Pneumothorax": r"pneumothorax|pleural",
    "Consolidation": r"consolidation|opacit|infiltrate|alveolar",
    "Pneumonia": r"pneumonia|infectious",
    "Lung Lesion": r"nodul|mass|lesion|neoplasm",
    "Atelectasis": r"atelectasis|volume loss|opacities|collapse",
    "Edema": r"edema|perihilar|fluid overload",
    "Support Devices": r"tube|line|catheter|PICC|pacemaker|device|generator|drain",
    "Fracture": r"fracture|cortical break",
}
DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "medium", "hard")


@cache
def studies(difficulty: Difficulty, count: int = 60) -> tuple[Study, ...]:
    source = PhantomSource(PhantomConfig(seed=11, count=count, difficulty=difficulty, size=128))
    return tuple(source.studies())


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_boxes_enclose_their_masks_exactly(difficulty: Difficulty) -> None:
    for study in studies(difficulty)[:25]:
        film = study.films[0]
        assert {box.label for box in film.boxes} == set(film.masks)
        for label, source in film.masks.items():
            mask = source.read()
            assert mask.shape == (film.original_height, film.original_width)
            assert set(np.unique(mask)) == {0, 255}
            boxes = [box for box in film.boxes if box.label == label]
            rows, columns = np.nonzero(mask)
            outer = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert outer == (
                min(box.x_min for box in boxes),
                min(box.y_min for box in boxes),
                max(box.x_max for box in boxes),
                max(box.y_max for box in boxes),
            )


def test_no_finding_is_drawn_off_the_film_or_too_small_to_see() -> None:
    for index in range(250):
        key = PhantomKey("hard", 2, index, 128)
        for part in finding_parts(plan_film(key)):
            assert part.mask.sum() >= 3, f"{part.finding} of study {index}"


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_present_classes_have_masks_and_absent_ones_have_none(difficulty: Difficulty) -> None:
    for study in studies(difficulty):
        present = {name for name, value in study.labels.items() if value == 1.0}
        assert set(study.labels) == set(FINDINGS)
        assert set(study.labels.values()) <= {0.0, 1.0}
        assert set(study.films[0].masks) == present & set(CLASS_OF.values())
        assert ("No Finding" in present) == (not present - {"No Finding", "Support Devices"})


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_what_a_report_denies_is_absent(difficulty: Difficulty) -> None:
    denials = tables().denials
    every = [*denials.heart, *denials.lungs, *denials.pleura, *denials.bones]
    used = 0
    for index in range(400):
        key = PhantomKey(difficulty, 5, index, 128)
        case = study_case(key)
        labels = case_labels(case)
        text = write_report(case, labels, PRESETS[difficulty], Draws(5, Stream.TEXT, index)).text
        for denial in every:
            if denial.text in text:
                used += 1
                assert not any(labels[name] for name in denial.denies), text
        for one in denials.one_sided:
            for side, name in ((-1, "right"), (1, "left")):
                if one.text.format(side=name) in text:
                    assert all(side not in finding.sides for finding in case.findings if finding.kind == one.kind)
    assert used > 200


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_phrase_spans_hold_the_words_of_their_finding(difficulty: Difficulty) -> None:
    for study in studies(difficulty):
        for region in study.phrase_regions:
            words = region.span.of(study.report.text)
            assert re.search(NAMES_OF[region.label], words, re.IGNORECASE), (region.label, words)
            assert re.fullmatch(r"\w.*\w", words)
            sentences = [s.span for s in study.report.sentences]
            assert any(s.start <= region.span.start and region.span.end <= s.end for s in sentences)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_side_a_phrase_names_is_the_side_of_its_boxes(difficulty: Difficulty) -> None:
    named = 0
    for index, study in enumerate(studies(difficulty)):
        plan = plan_film(PhantomKey(difficulty, 11, index, 128))
        for region in study.phrase_regions:
            assert region.boxes
            assert all(box in study.films[0].boxes for box in region.boxes)
            words = region.span.of(study.report.text)
            if region.label == "Support Devices":
                continue  # lines end near the heart, whichever side they enter from
            for word, side in (("right", -1), ("left", 1)):
                if re.search(rf"\b{word}\b", words, re.IGNORECASE):
                    named += 1
                    (box,) = region.boxes
                    assert (0.5 * (box.x_min + box.x_max) - plan.frame.origin_x) * side > 0, words
            if re.search(r"\b(bilateral|both|bibasilar|bilaterally)\b", words, re.IGNORECASE):
                assert len(region.boxes) == 2
    assert named > 10


def test_every_abnormal_study_speaks_of_its_findings() -> None:
    for difficulty in DIFFICULTIES:
        for study in studies(difficulty):
            assert bool(study.phrase_regions) == bool(study.films[0].boxes)


def test_sides_are_balanced_so_that_words_alone_do_not_place_a_finding() -> None:
    sides: dict[str, Counter[int]] = {kind: Counter() for kind in CLASS_OF}
    for index in range(1500):
        case = study_case(PhantomKey("medium", 0, index, 128))
        for finding in case.findings:
            if finding.change in ("none", "new") and len(finding.sides) == 1 and finding.sides != (0,):
                sides[finding.kind][finding.sides[0]] += 1
    for kind, counted in sides.items():
        total = counted.total()
        assert abs(counted[1] - counted[-1]) <= 3.5 * np.sqrt(max(total, 1)), (kind, counted)


def test_health_and_illness_come_in_realistic_shares() -> None:
    labels = [case_labels(study_case(PhantomKey("medium", 1, index, 128))) for index in range(1200)]
    share = {name: float(np.mean([row[name] for row in labels])) for name in FINDINGS}
    assert 0.33 < share["No Finding"] < 0.43
    for name in CLASS_OF.values():
        assert 0.04 < share[name] < 0.3, name
    both = np.mean([row["Cardiomegaly"] and row["Edema"] for row in labels])
    assert both > 2 * share["Cardiomegaly"] * share["Edema"]


def test_some_reports_share_their_text() -> None:
    texts = Counter(
        study.report.text for difficulty in DIFFICULTIES for study in studies(difficulty) if not study.phrase_regions
    )
    assert max(texts.values()) >= 3


def test_studies_do_not_depend_on_how_many_are_asked_for_or_in_which_order() -> None:
    few = PhantomSource(PhantomConfig(seed=11, count=3, first=20, difficulty="medium", size=128))
    for place in (2, 0, 1):
        study, same = few.study(place), studies("medium")[20 + place]
        assert study == same
        assert np.array_equal(study.films[0].pixels.read(), same.films[0].pixels.read())


def test_follow_ups_show_the_same_patient_and_speak_of_the_time_between() -> None:
    further = [index for index in range(60) if first_visit(11, index) != index]
    assert 5 < len(further) < 30
    for index in further:
        before, after = studies("medium")[index - 1], studies("medium")[index]
        assert before.patient_id == after.patient_id
        assert "COMPARISON: " in after.report.text
        plans = [plan_film(PhantomKey("medium", 11, number, 128)) for number in (index - 1, index)]
        assert plans[0].anatomy == plans[1].anatomy
        assert plans[0].style != plans[1].style


def test_studies_travel_between_processes() -> None:
    study = studies("easy")[1]
    assert pickle.loads(pickle.dumps(study)) == study


def test_the_fingerprint_changes_with_the_config() -> None:
    config = PhantomConfig(seed=1, count=4, difficulty="easy", size=128)
    same = PhantomSource(PhantomConfig(seed=1, count=4, difficulty="easy", size=128))
    assert PhantomSource(config).fingerprint() == same.fingerprint()
    for changed in ({"seed": 2}, {"count": 5}, {"difficulty": "hard"}, {"size": 256}, {"first": 1}):
        other = PhantomSource(config.model_copy(update=changed))
        assert other.fingerprint() != same.fingerprint()


def test_a_contact_sheet_shows_every_film() -> None:
    sheet = contact_sheet(PhantomConfig(seed=1, count=3, difficulty="easy", size=64), columns=2, boxes=True)
    pixels = np.asarray(sheet)
    assert pixels.shape == (2 * 84, 2 * 70, 3)
    for row, column in ((0, 0), (0, 1), (1, 0)):
        assert pixels[row * 84 + 20 : row * 84 + 70, column * 70 : column * 70 + 50].std() > 10
