"""The rule labeller: mention, negation, uncertainty; human MeSH labels; agreement of the two on real reports."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.data.findings import (
    FINDINGS,
    LabelPolicy,
    Mention,
    find_mentions,
    label_mentions,
    label_report,
    mesh_label_names,
    mesh_labels,
)
from crossray.data.labeller_score import score_labeller
from crossray.data.patterns import load_patterns
from crossray.data.reports import parse_report, parse_sections

PRESENT, ABSENT, UNCERTAIN, NONE = Mention.PRESENT, Mention.ABSENT, Mention.UNCERTAIN, Mention.NONE


@pytest.mark.parametrize(
    ("sentence", "finding", "expected"),
    [
        # mention
        ("Small left pleural effusion.", "Pleural Effusion", PRESENT),
        ("The heart is mildly enlarged.", "Cardiomegaly", PRESENT),
        ("Enlarged cardiac silhouette.", "Cardiomegaly", PRESENT),
        ("Subsegmental atelectatic change.", "Atelectasis", PRESENT),
        ("Healed rib fractures.", "Fracture", PRESENT),
        ("Widened mediastinum.", "Enlarged Cardiomediastinum", PRESENT),
        ("Biapical pleural thickening.", "Pleural Other", PRESENT),
        ("Endotracheal tube in place.", "Support Devices", PRESENT),
        ("The patient is upright.", "Pleural Effusion", NONE),
        # negation before and behind
        ("No pleural effusion or pneumothorax.", "Pneumothorax", ABSENT),
        ("Lungs free of consolidation.", "Consolidation", ABSENT),
        ("No evidence of acute pneumonia.", "Pneumonia", ABSENT),
        ("Clear lungs without edema.", "Edema", ABSENT),
        ("Pleural effusion and pneumothorax are not seen.", "Pleural Effusion", ABSENT),
        ("The effusion has resolved.", "Pleural Effusion", ABSENT),
        ("The chest tube has been removed.", "Support Devices", ABSENT),
        ("Interval resolution of the pneumothorax.", "Pneumothorax", ABSENT),
        ("Pneumothorax: none.", "Pneumothorax", ABSENT),
        ("Neither effusion nor pneumothorax.", "Pneumothorax", ABSENT),
        ("No pleural\n effusion.", "Pleural Effusion", ABSENT),
        ("No opacity to suggest pneumonia.", "Pneumonia", ABSENT),
        ("No findings suggestive of edema.", "Edema", ABSENT),
        # the words themselves deny
        ("Heart size is normal.", "Cardiomegaly", ABSENT),
        ("Normal heart size.", "Cardiomegaly", ABSENT),
        ("The heart is not enlarged.", "Cardiomegaly", ABSENT),
        ("Heart size at the upper limits of normal.", "Cardiomegaly", ABSENT),
        ("Mediastinal contours are within normal limits.", "Enlarged Cardiomediastinum", ABSENT),
        # uncertainty
        ("Possible pneumonia.", "Pneumonia", UNCERTAIN),
        ("Opacity may be due to atelectasis.", "Atelectasis", UNCERTAIN),
        ("Atelectasis versus consolidation.", "Atelectasis", UNCERTAIN),
        ("Atelectasis versus consolidation.", "Consolidation", UNCERTAIN),
        ("Cannot exclude a small effusion.", "Pleural Effusion", UNCERTAIN),
        ("A small effusion cannot be excluded.", "Pleural Effusion", UNCERTAIN),
        ("Pneumothorax is not excluded.", "Pneumothorax", UNCERTAIN),
        ("Underlying edema is suspected.", "Edema", UNCERTAIN),
        ("?pneumonia", "Pneumonia", UNCERTAIN),
        ("Borderline cardiomegaly.", "Cardiomegaly", UNCERTAIN),
        # double negation and words that only look like negation
        ("Not without effusion.", "Pleural Effusion", PRESENT),
        ("The effusion has not resolved.", "Pleural Effusion", PRESENT),
        ("No resolution of the effusion.", "Pleural Effusion", PRESENT),
        ("No significant change in the effusion.", "Pleural Effusion", PRESENT),
        ("Without change in cardiomegaly.", "Cardiomegaly", PRESENT),
        ("Unchanged right effusion.", "Pleural Effusion", PRESENT),
        ("Resolving pneumonia.", "Pneumonia", PRESENT),
        # scope ends
        ("No pneumothorax, but a small effusion.", "Pleural Effusion", PRESENT),
        ("No pneumothorax; stable cardiomegaly.", "Cardiomegaly", PRESENT),
        ("There is no pneumothorax and there is a large effusion.", "Pleural Effusion", PRESENT),
        ("No consolidation with small effusions.", "Pleural Effusion", PRESENT),
        ("Effusion is larger, pneumothorax is not seen.", "Pleural Effusion", PRESENT),
        ("Possible edema, no effusion.", "Pleural Effusion", ABSENT),
        ("No edema. Effusion.", "Pleural Effusion", PRESENT),
        # other meanings, and films that are not this one
        ("Small pericardial effusion.", "Pleural Effusion", NONE),
        ("Soft tissue edema.", "Edema", NONE),
        ("Evaluate for pneumonia.", "Pneumonia", NONE),
        ("History of pneumonia.", "Pneumonia", NONE),
        ("The lateral screw is fractured.", "Fracture", NONE),
    ],
)
def test_what_a_sentence_says_of_a_finding(sentence: str, finding: str, expected: Mention) -> None:
    assert label_mentions(parse_report(sentence))[finding] is expected


def test_a_statement_anywhere_outweighs_doubt_and_doubt_outweighs_denial() -> None:
    states = label_mentions(parse_report("No effusion. Possible effusion. No edema. Possible edema. Edema."))
    assert (states["Pleural Effusion"], states["Edema"]) == (UNCERTAIN, PRESENT)


def test_the_history_is_not_read() -> None:
    report = parse_sections({"indication": "Pneumonia.", "findings": "Clear lungs.", "comparison": "Effusion."})
    assert label_report(report)["Pneumonia"] == 0.0
    assert label_report(report)["No Finding"] == 1.0


def test_a_report_with_nothing_to_read_is_unknown() -> None:
    assert all(math.isnan(value) for value in label_report(parse_report("INDICATION: Pneumonia.")).values())
    assert all(math.isnan(value) for value in label_report(parse_report("")).values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Clear. PICC line.", 1.0), ("Possible edema.", 0.0), ("Effusion.", 0.0), ("No effusion.", 1.0)],
)
def test_no_finding_is_the_absence_of_all_but_devices(text: str, expected: float) -> None:
    assert label_report(parse_report(text))["No Finding"] == expected


def test_the_policy_says_what_doubt_and_silence_count_as() -> None:
    report = parse_report("Possible edema.")
    assert math.isnan(label_report(report)["Edema"])
    assert label_report(report)["Fracture"] == 0.0
    assert label_report(report, LabelPolicy(uncertain="present"))["Edema"] == 1.0
    assert label_report(report, LabelPolicy(uncertain="absent"))["Edema"] == 0.0
    assert math.isnan(label_report(report, LabelPolicy(not_mentioned="unknown"))["Fracture"])


def test_mentions_are_spans_of_the_report() -> None:
    report = parse_report("FINDINGS: Clear. No pleural\n effusion.\nIMPRESSION: Edema.")
    found = [(mention.finding, mention.span.of(report.text), mention.mention) for mention in find_mentions(report)]
    assert found == [("Pleural Effusion", "pleural\n effusion", ABSENT), ("Edema", "Edema", PRESENT)]


def test_every_class_but_no_finding_has_patterns() -> None:
    assert tuple(load_patterns("findings")["findings"]) == FINDINGS[1:]
    assert mesh_label_names() == FINDINGS


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_gets_a_value_for_every_class(text: str) -> None:
    labels = label_report(parse_report(text))
    assert tuple(labels) == FINDINGS
    assert all(value in (0.0, 1.0) or math.isnan(value) for value in labels.values())


def test_check_12_pulmonary_edema_with_qualifiers_is_edema() -> None:
    labels = mesh_labels("Pulmonary Edema/interstitial/mild")
    assert [name for name, value in labels.items() if value == 1.0] == ["Edema"]


def test_check_12_pericardial_effusion_is_none_of_the_classes() -> None:
    assert set(mesh_labels("Pericardial Effusion").values()) == {0.0}


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("cardiomegaly/mild;PLEURAL EFFUSION/left", {"Cardiomegaly", "Pleural Effusion"}),
        ("Pulmonary Atelectasis/base/left; Consolidation", {"Atelectasis", "Consolidation"}),
        ("Cardiac Shadow/enlarged;Pulmonary Congestion", set()),
        ("Thickening/pleura/apex;Thickening/bronchovascular", {"Pleural Other"}),
        ("Fractures, Bone/ribs/left/healed", {"Fracture"}),
        ("normal", {"No Finding"}),
    ],
)
def test_mesh_terms_go_by_head_and_asked_qualifier(terms: str, expected: set[str]) -> None:
    assert {name for name, value in mesh_labels(terms).items() if value == 1.0} == expected


def test_reports_that_nobody_indexed_are_not_known_to_be_normal() -> None:
    assert math.isnan(mesh_labels("No Indexing")["No Finding"])
    assert mesh_labels("No Indexing")["Edema"] == 0.0
    assert all(math.isnan(value) for value in mesh_labels("").values())


def test_agreement_counts_studies_with_a_human_verdict() -> None:
    said = [{"Edema": PRESENT}, {"Edema": UNCERTAIN}, {"Edema": ABSENT}, {"Edema": PRESENT}, {"Edema": PRESENT}]
    human = [{"Edema": 1.0}, {"Edema": 1.0}, {"Edema": 0.0}, {"Edema": 0.0}, {"Edema": math.nan}]
    (score,) = score_labeller(said, human)
    assert (score.studies, score.positives) == (4, 2)
    assert (score.present.precision, score.present.recall, score.present.f1) == (0.5, 0.5, 0.5)
    assert score.present_or_uncertain.recall == 1.0
    low, high = score.present_or_uncertain.f1_interval
    assert 0.0 <= low <= score.present_or_uncertain.f1 <= high <= 1.0


def test_agreement_without_positives_is_not_a_number() -> None:
    (score,) = score_labeller([{"Edema": ABSENT}], [{"Edema": 0.0}])
    assert math.isnan(score.present.f1)
    assert math.isnan(score.present.f1_interval[0])


@pytest.fixture(scope="module")
def iu_rows(real_data: Path) -> list[dict[str, str]]:
    with (real_data / "iu_xray" / "reports.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.real_data
def test_check_12_counts_of_the_copy_at_hand(iu_rows: list[dict[str, str]]) -> None:
    assert len(iu_rows) == 2855
    assert sum(bool(row["findings"].strip()) for row in iu_rows) == 2423
    assert sum(bool(row["impression"].strip()) for row in iu_rows) == 2849
    labels = [mesh_labels(row["mesh_major"]) for row in iu_rows]
    counts = {name: sum(row[name] == 1.0 for row in labels) for name in mesh_label_names()}
    common = ("Atelectasis", "Cardiomegaly", "Edema", "Pleural Effusion", "Consolidation", "No Finding")
    assert [counts[name] for name in common] == [248, 288, 31, 119, 27, 919]


@pytest.mark.real_data
def test_check_12_mesh_labels_agree_with_the_publishers_heads(real_data: Path, iu_rows: list[dict[str, str]]) -> None:
    with (real_data / "iu_xray" / "labels.csv").open(encoding="utf-8", newline="") as file:
        given_labels = {row["study_id"]: row for row in csv.DictReader(file)}
    heads = {
        "Atelectasis": "Pulmonary Atelectasis",
        "Cardiomegaly": "Cardiomegaly",
        "Edema": "Pulmonary Edema",
        "Pleural Effusion": "Pleural Effusion",
        "Consolidation": "Consolidation",
    }
    for row in iu_rows:
        labels = mesh_labels(row["mesh_major"])
        assert all(labels[name] == float(given_labels[row["study_id"]][head]) for name, head in heads.items())


@pytest.mark.real_data
def test_the_labeller_agrees_with_people_on_reports_it_was_not_tuned_on(iu_rows: list[dict[str, str]]) -> None:
    held_out = [row for row in iu_rows if int(row["study_id"]) % 2 == 1]
    reports = [parse_sections({"findings": row["findings"], "impression": row["impression"]}) for row in held_out]
    scores = score_labeller(
        [label_mentions(report) for report in reports],
        [mesh_labels(row["mesh_major"]) for row in held_out],
        resamples=10,
    )
    f1 = {score.label: score.present.f1 for score in scores}
    assert min(f1[name] for name in ("Atelectasis", "Cardiomegaly", "Pleural Effusion", "Consolidation")) > 0.88
    assert f1["Edema"] > 0.8


@pytest.mark.parametrize(
    "text",
    [
        "BEFUND: Herz normal gross. Kein Pleuraerguss. Kein Infiltrat.",
        "HALLAZGOS: Silueta cardiaca normal. Sin derrame pleural.",
        "双肺纹理清晰,未见异常。",
        "HERZ UND LUNGE NORMAL, KEIN ERGUSS. RUNDHERD VON 5 mm.",
    ],
)
def test_labels_of_a_report_in_another_language_are_unknown(text: str) -> None:
    assert all(math.isnan(value) for value in label_report(parse_report(text)).values())


@pytest.mark.parametrize(
    "text",
    [
        "Clear lungs.",
        "No effusion.",
        "CXR: normal.",
        "FINDINGS: ___",
        "En face nipple.",
        "IM nail.",
        "Tracheal Y stent.",
        "DES unchanged.",
    ],
)
def test_short_reports_count_as_english(text: str) -> None:
    assert label_report(parse_report(text))["Pneumothorax"] == 0.0
