"""The text a model reads: the right sections, no de-identification marks, spans that fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.data.reports import parse_report, parse_sections
from crossray.data.text import SelectedText, TextConfig, normalise_text, random_sentence, select_text

REPORT = parse_sections(
    {
        "indication": "Cough since XXXX.",
        "findings": "Heart size is  normal. Comparison to XXXX. XXXX. No effusion (XXXX).",
        "impression": "1. Normal chest x-XXXX. 2. XXXX-year-old rib fracture.",
    }
)


def sentences(selected: SelectedText) -> list[str]:
    return [span.of(selected.text) for span in selected.sentences]


def test_findings_and_impression_are_read_without_marks_and_list_numbers() -> None:
    assert sentences(select_text(REPORT, TextConfig())) == [
        "Heart size is normal.",
        "Comparison to.",
        "No effusion.",
        "Normal chest x.",
        "year-old rib fracture.",
    ]


def test_marks_and_list_numbers_stay_where_asked() -> None:
    selected = select_text(REPORT, TextConfig(sections=("impression",), deidentified="keep", list_numbers="keep"))
    assert selected.text == "1. Normal chest x-XXXX. 2. XXXX-year-old rib fracture."


def test_text_can_be_lower_cased() -> None:
    assert select_text(parse_report("Heart NORMAL."), TextConfig(lower_case=True)).text == "heart normal."


def test_a_report_without_the_sections_is_read_whole_or_not_at_all() -> None:
    report = parse_report("INDICATION: Cough.")
    assert select_text(report, TextConfig()).text == "Cough."
    assert select_text(report, TextConfig(fallback="empty")) == SelectedText("", ())


@pytest.mark.parametrize("preprocessing", ["clean", "gloria"])
def test_sections_may_be_read_in_the_order_of_the_list(preprocessing: str) -> None:
    report = parse_report("FINDINGS: Clear lungs. Small heart.\nIMPRESSION: No acute disease.")
    options = {"sections": ("impression", "findings"), "preprocessing": preprocessing}
    in_order = select_text(report, TextConfig.model_validate(options))
    listed = select_text(report, TextConfig.model_validate({**options, "section_order": "listed"}))
    assert [one.lower().rstrip(".") for one in sentences(in_order)] == [
        "clear lungs",
        "small heart",
        "no acute disease",
    ]
    assert sentences(listed) == [*sentences(in_order)[2:], *sentences(in_order)[:2]]


def test_a_configuration_in_reading_order_reads_as_before() -> None:
    assert "section_order" not in TextConfig().model_dump()
    listed = TextConfig(section_order="listed")
    assert TextConfig.model_validate(listed.model_dump()) == listed


def test_one_wanted_section_is_enough() -> None:
    report = parse_report("INDICATION: Cough.\nIMPRESSION: Normal.")
    assert select_text(report, TextConfig()).text == "Normal."


@pytest.mark.parametrize("text", ["", "XXXX.", "FINDINGS: ___ XXXX. ."])
def test_nothing_but_marks_leaves_an_empty_text(text: str) -> None:
    assert select_text(parse_report(text), TextConfig()) == SelectedText("", ())


def test_gloria_preprocessing_follows_the_published_steps() -> None:
    report = parse_report("IMPRESSION: 1. Größe 2.5 cm nodule.\n2. Normal. 3. No acute\n disease.")
    selected = select_text(report, TextConfig(sections=("impression",), preprocessing="gloria"))
    # A decimal is cut like a list number and one-word sentences are dropped: published behaviour.
    assert sentences(selected) == ["5 cm nodule", "no acute disease"]


@given(st.text(alphabet=st.sampled_from("aX_ .\n1()-:;é"), max_size=80), st.sampled_from(["clean", "gloria"]))
@settings(max_examples=300, deadline=None)
def test_sentences_join_to_the_text(text: str, preprocessing: str) -> None:
    config = TextConfig.model_validate({"preprocessing": preprocessing})
    selected = select_text(parse_report(text), config)
    assert " ".join(sentences(selected)) == selected.text
    assert all(sentence.strip() == sentence != "" for sentence in sentences(selected))
    assert "XXXX" not in selected.text.split()


def test_a_random_sentence_is_one_of_the_text_and_follows_the_generator() -> None:
    selected = select_text(REPORT, TextConfig())
    drawn = [random_sentence(selected, np.random.default_rng(seed)) for seed in range(40)]
    assert {item.text for item in drawn} == set(sentences(selected))
    assert all(sentences(item) == [item.text] for item in drawn)
    assert drawn[3] == random_sentence(selected, np.random.default_rng(3))


def test_a_random_sentence_of_nothing_is_nothing() -> None:
    assert random_sentence(SelectedText("", ()), np.random.default_rng(0)) == SelectedText("", ())


def test_reports_that_differ_in_case_and_punctuation_have_one_key() -> None:
    assert normalise_text("No Effusion;\n 1.5 CM") == normalise_text("no effusion 1 5 cm.") == "no effusion 1 5 cm"
    assert normalise_text("No effusion") != normalise_text("Effusion")
