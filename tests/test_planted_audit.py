"""The planted audit: every case is judged by what the audit names, and the table says what the judgements say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from benchmarks.planted_audit.__main__ import Judged, forms, judged_headers, judged_store
from benchmarks.planted_audit.cases import Bases, cases_in_text, cases_of_labels, cases_of_patients, cases_of_reports
from benchmarks.planted_audit.films import cases_of_copies, cases_of_writing
from benchmarks.planted_audit.table import markdown

from crossray.data.sources.phantom import PhantomConfig, PhantomSource


def bases() -> Bases:
    return Bases(PhantomSource(PhantomConfig(count=10**4, size=64)).studies())


def test_at_least_thirty_of_each_kind_are_planted_and_as_many_near_misses() -> None:
    in_studies = (
        cases_in_text,
        cases_of_patients,
        cases_of_reports,
        cases_of_labels,
        cases_of_copies,
        cases_of_writing,
    )
    counts = Counter(
        (c.kind.partition("label in text")[0] or "label", c.planted) for make in in_studies for c in make(bases())
    )
    assert min(counts.values()) >= 30
    assert {kind for kind, planted in counts if planted} == {kind for kind, planted in counts if not planted}


def test_a_case_is_found_where_the_audit_names_its_own_studies(tmp_path: Path) -> None:
    patients, labels = list(cases_of_patients(mine := bases())), list(cases_of_labels(mine))
    chosen = [*patients[:2], *patients[-20:-18], *labels[:3], labels[-1]]
    judged, elsewhere = judged_store(chosen, tmp_path / "store")
    assert [(one.planted, one.named) for one in judged] == [(case.planted, case.planted) for case in chosen]
    assert {one.kind for one in judged} == {"patients across sides", "label in text"}
    assert set(elsewhere.values()) == {0}


def test_every_attribute_that_is_planted_in_a_header_is_found_and_no_other(tmp_path: Path) -> None:
    judged = judged_headers(tmp_path / "dicom")
    assert [one for one in judged if one.planted is not one.named] == []
    assert len(judged) > 200


def test_the_table_counts_plants_and_near_misses_and_names_what_went_wrong() -> None:
    judged = [
        Judged("kind", "a form", True, True),
        Judged("kind", "a form", True, False),
        Judged("kind", "once | only", True, False),
        Judged("kind", "like it", False, True),
        Judged("kind", "not like it", False, False),
    ]
    content = {
        "command": "it", "date": "today", "versions": {"python": "3"}, "studies": 5, "files": 0,
        "forms": [list(one) for one in forms(judged)], "elsewhere": {"kind": 0, "other": 2},
        "iu_xray": [["report: date", 0, 7]],
    }  # fmt: skip
    table = markdown(content)
    assert "| kind | 1 / 3 | 1 / 2 | a form (1 of 2); once \\| only | like it |" in table
    assert "own row: other 2." in table
    assert "| report: date | 0 | 7 |" in table
