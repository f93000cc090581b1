"""Report parsing: spans slice the text, nothing is lost, headings and sentences are found as people mean them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.data.headings import find_headings
from crossray.data.reports import decode_report, parse_report, parse_sections, words
from crossray.data.sentences import split_sentences
from crossray.data.study import Report, SectionName, Span
from crossray.errors import StudyError

MIMIC_LIKE = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with cough  // pneumonia?

 COMPARISON:  Radiograph of ___.

 FINDINGS:

 Dr. ___ saw the film at 5 p.m. on ___. A nodule of 1.5 cm is new.
 The upper
 lungs are clear.Heart size is normal.

 IMPRESSION:
 1. New nodule, e.g. at T12. 2. No effusion 3. Stable heart.
"""

fragments = st.sampled_from(
    [
        "FINDINGS:",
        "Impression:",
        "IMPRESSION",
        "FINAL REPORT",
        "PA AND LATERAL CHEST:",
        "History -",
        "**Findings:**",
        "The lungs are clear.",
        "1. ",
        "2) ",
        "1.5 cm",
        "Dr.",
        "XXXX",
        "___",
        "x-XXXX.",
        "clear.There",
        "no. 3",
        "..",
        "?",
        "\n",
        "\r\n",
        "\n\n",
        "\r",
        " ",
        "  ",
        "\t",
        "- ",
        "(",
        ")",
        "a.m.",
        "e.g.",
        "ß",
        "\xa0",
        "\u2028",
        "İ",
        ":",
    ]
)
report_texts = st.one_of(
    st.lists(fragments, max_size=30).map("".join),
    st.lists(fragments, max_size=30).map(" ".join),
    st.text(max_size=120),
)


def characters(text: str, spans: Iterable[Span]) -> list[int]:
    """Places of every character but white space that the spans cover, as often as they do."""
    return [place for span in spans for place in range(span.start, span.end) if not text[place].isspace()]


def bodies(report: Report) -> list[tuple[SectionName, str]]:
    return [(section.name, section.span.of(report.text)) for section in report.sections]


def sentences_of(text: str) -> list[str]:
    return [span.of(text) for span in split_sentences(text)]


@given(report_texts)
@settings(max_examples=150, deadline=None)
def test_every_character_lies_in_one_heading_or_one_section_body(text: str) -> None:
    spans = [heading.span for heading in find_headings(text)] + [
        section.span for section in parse_report(text).sections
    ]
    assert sorted(characters(text, spans)) == [place for place, letter in enumerate(text) if not letter.isspace()]


@given(report_texts)
@settings(max_examples=150, deadline=None)
def test_every_character_of_a_body_lies_in_one_sentence(text: str) -> None:
    report = parse_report(text)
    in_bodies = characters(text, [section.span for section in report.sections])
    assert characters(text, [sentence.span for sentence in report.sentences]) == in_bodies


@given(report_texts)
@settings(max_examples=120, deadline=None)
def test_spans_are_in_order_and_trimmed(text: str) -> None:
    report = parse_report(text)
    assert report.text == text
    for spans in ([section.span for section in report.sections], [sentence.span for sentence in report.sentences]):
        assert all(0 <= span.start < span.end <= len(text) for span in spans)
        assert all(before.end <= after.start for before, after in pairwise(spans))
        assert all(span.of(text) == span.of(text).strip() for span in spans)


@given(st.dictionaries(st.sampled_from(["indication", "comparison", "findings", "impression"]), report_texts))
@settings(max_examples=80, deadline=None)
def test_given_sections_keep_their_text(parts: dict[SectionName, str]) -> None:
    report = parse_sections(parts)
    assert bodies(report) == [(name, part.strip()) for name, part in parts.items() if part.strip()]
    in_bodies = characters(report.text, [section.span for section in report.sections])
    assert characters(report.text, [sentence.span for sentence in report.sentences]) == in_bodies


@given(report_texts)
@settings(max_examples=150, deadline=None)
def test_words_cover_every_letter_and_digit_once(text: str) -> None:
    covered = characters(text, words(text))
    assert len(covered) == len(set(covered))
    assert {place for place, letter in enumerate(text) if letter.isalnum()} <= set(covered)


def test_a_hospital_report_is_cut_at_its_headings() -> None:
    assert [name for name, _ in bodies(parse_report(MIMIC_LIKE))] == [
        "technique",
        "indication",
        "comparison",
        "findings",
        "impression",
    ]


def test_sentences_survive_abbreviations_decimals_list_numbers_and_line_wraps() -> None:
    report = parse_report(MIMIC_LIKE)
    found = [s.span.of(report.text) for s in report.sentences if s.section in ("findings", "impression")]
    assert found == [
        "Dr. ___ saw the film at 5 p.m. on ___.",
        "A nodule of 1.5 cm is new.",
        "The upper\n lungs are clear.",
        "Heart size is normal.",
        "1. New nodule, e.g. at T12.",
        "2. No effusion",
        "3. Stable heart.",
    ]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("FINDINGS:", "findings"),
        ("Findings :", "findings"),
        ("**FINDINGS:**", "findings"),
        ("FINDINGS AND IMPRESSION:", "findings"),
        ("FINDINGS/IMPRESSION:", "findings"),
        ("IMPRESSION:", "impression"),
        ("Impression\n", "impression"),
        ("IMPRESSION -", "impression"),
        ("CONCLUSION:", "impression"),
        ("CONCLUSIONS\n", "impression"),
        ("HISTORY:", "indication"),
        ("CLINICAL INFORMATION:", "indication"),
        ("CLINICAL  HISTORY:", "indication"),
        ("REASON FOR EXAM:", "indication"),
        ("REASON FOR THIS EXAMINATION:\n", "indication"),
        ("UNDERLYING MEDICAL CONDITION:", "indication"),
        ("COMPARISON:", "comparison"),
        ("Comparison studies:", "comparison"),
        ("TECHNIQUE:", "technique"),
        ("EXAMINATION:", "technique"),
        ("WET READ:", "other"),
        ("WET READ VERSION #1:", "other"),
        ("FINAL REPORT\n", "other"),
        ("FINAL ADDENDUM\n", "other"),
        ("Presentation:", "indication"),
        ("Imaging Notes:", "findings"),
        ("Case Discussion:", "other"),
        ("PA AND LATERAL CHEST:", "findings"),
        ("CHEST, TWO VIEWS:", "findings"),
        ("Portable AP chest radiograph:", "findings"),
    ],
)
def test_headings_are_known_in_many_spellings(heading: str, name: SectionName) -> None:
    report = parse_report(f"{heading} The lungs are clear.")
    assert bodies(report) == [(name, "The lungs are clear.")]


def test_headings_inside_a_line_open_sections() -> None:
    report = parse_report("REASON: cough FINDINGS: Lungs clear. Impression: Normal.")
    assert bodies(report) == [("indication", "cough"), ("findings", "Lungs clear."), ("impression", "Normal.")]


@pytest.mark.parametrize(
    "text",
    [
        "The findings are stable.",
        "Clinical impression unchanged; findings: stable",
        "Lungs:\nclear",
        "No acute\nfindings\nseen",
    ],
)
def test_running_text_is_no_heading(text: str) -> None:
    assert bodies(parse_report(text)) == [("other", text)]


def test_a_film_title_is_technique_where_the_findings_have_their_own_heading() -> None:
    report = parse_report("CHEST, PA AND LATERAL: Two films.\nFINDINGS: Clear.")
    assert bodies(report) == [("technique", "Two films."), ("findings", "Clear.")]


def test_a_paragraph_below_the_history_is_findings_where_nothing_is_headed_so() -> None:
    report = parse_report("HISTORY: Cough.\n\nCOMPARISON: None.\n\nLungs clear.\n\nNo effusion.\n\nIMPRESSION: Normal.")
    assert bodies(report) == [
        ("indication", "Cough."),
        ("comparison", "None."),
        ("findings", "Lungs clear.\n\nNo effusion."),
        ("impression", "Normal."),
    ]


def test_text_without_headings_is_one_section_of_other() -> None:
    assert bodies(parse_report(" The lungs are clear. ")) == [("other", "The lungs are clear.")]


@pytest.mark.parametrize("text", ["", " \n\t", "FINDINGS:\n\nIMPRESSION:"])
def test_a_report_without_prose_has_no_sections(text: str) -> None:
    assert parse_report(text) == Report(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mild effusion.. Heart normal. .", ["Mild effusion..", "Heart normal. ."]),
        ("XXXX XXXX. There is no XXXX.", ["XXXX XXXX.", "There is no XXXX."]),
        ("Seen on ___. Dr. ___ agrees.", ["Seen on ___.", "Dr. ___ agrees."]),
        ("Rib 7. No pneumothorax.", ["Rib 7.", "No pneumothorax."]),
        ("1.Severe edema. 2.No effusion.", ["1.Severe edema.", "2.No effusion."]),
        ("(1) Clear.\n(2) Normal heart.", ["(1) Clear.", "(2) Normal heart."]),
        ("Measures 4 x 3. 2 cm apart.", ["Measures 4 x 3.", "2 cm apart."]),
        ("Is it new? Yes! Stable.", ["Is it new?", "Yes!", "Stable."]),
        ("- Clear lungs\n- Normal heart", ["- Clear lungs", "- Normal heart"]),
        ("Lungs: clear\nHeart: normal", ["Lungs: clear", "Heart: normal"]),
        ("clear\n\nheart normal", ["clear", "heart normal"]),
        ("Film no. 3 vs. no. 2 is at 3 a.m. today.", ["Film no. 3 vs. no. 2 is at 3 a.m. today."]),
        ("Is there effusion? no. Clear.", ["Is there effusion?", "no.", "Clear."]),
    ],
)
def test_sentence_breaks(text: str, expected: list[str]) -> None:
    assert sentences_of(text) == expected


def test_decimals_apostrophes_and_marks_are_single_words() -> None:
    text = "Patient's 1.5-cm nodule, XXXX ___ x-ray."
    assert [word.of(text) for word in words(text)] == ["Patient's", "1.5", "cm", "nodule", "XXXX", "___", "x", "ray"]


def test_words_of_a_span_stay_inside_it() -> None:
    report = parse_report("FINDINGS: Clear lungs. IMPRESSION: Normal.")
    assert [word.of(report.text) for word in words(report, report.sections[1].span)] == ["Normal"]


@pytest.mark.parametrize(
    "unit", ["The lungs are clear. No effusion 2.5 cm. ", "FINDINGS ", " ", "\n", ".", "1. ", "Chest, ", "a."]
)
def test_ten_thousand_words_and_degenerate_texts_parse_whole(unit: str) -> None:
    text = unit * 10_000
    report = parse_report(text)
    assert sum(span.end - span.start for span in (section.span for section in report.sections)) <= len(text)
    assert report.text == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_reports_decode_from_the_encodings_that_hospitals_write(encoding: str) -> None:
    text = "FINDINGS: Größe 5 – normal, no effusion in the left chest."
    assert decode_report(text.encode(encoding)) == text


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"\xff\xfea\x00b", b"caf\x81"])
def test_bytes_that_are_no_text_are_refused_by_file(content: bytes) -> None:
    with pytest.raises(StudyError, match=r"r1\.txt.*not text"):
        decode_report(content, "r1.txt")


@pytest.mark.parametrize(
    "text",
    [
        "KLINISCHE ANGABEN: Husten.\nBefund:\nHerz normal groß.\nBEURTEILUNG: Kein Erguss.",
        "Fragestellung: Erguss?\nBEFUNDE\nHerz normal groß.\nZusammenfassung: Kein Erguss.",
        "HISTORIA CLINICA: tos.\nHallazgos: Silueta normal.\nIMPRESIÓN: Sin derrame.",
        "iNDICATION: cough.\nfInDiNgS: clear.\nImPressION: normal.".replace("iN", "IN").replace("fI", "FI"),
    ],
)
def test_german_and_spanish_headings_and_odd_capitals_open_sections(text: str) -> None:
    assert [section.name for section in parse_report(text).sections] == ["indication", "findings", "impression"]


def test_a_control_character_in_a_report_is_named_by_its_line() -> None:
    with pytest.raises(StudyError, match=r"r1\.txt.*line 2 holds the control character 0x00"):
        decode_report("Größe normal.\nNo \0effusion.".encode(), "r1.txt")


def test_an_unknown_section_name_is_refused() -> None:
    with pytest.raises(ValueError, match="'summary' is not a section"):
        parse_sections({"summary": "x"})  # type: ignore[dict-item]  # the mistake is the point
