from __future__ import annotations

from pathlib import Path

import pytest

from crossray.data.selection import select_studies
from crossray.data.sources.expected import (
    TWIN_FILE,
    ExpectedCounts,
    StudyCounts,
    TwinRecord,
    check_counts,
    counted,
    expected_of,
    write_twin_record,
)
from crossray.data.sources.layout import find_part, require_layout
from crossray.data.sources.publisher_tables import publisher_rows
from crossray.data.study import Study
from crossray.data.twins.files import write_lines
from crossray.errors import DataError
from tests.data.studies import MemorySource, make_study, studies, with_report

FOUR = ExpectedCounts(counts={"studies": 4, "patients": 2, "images": 4, "boxes": 4, "positive Cardiomegaly": 1})


def test_items_pass_unchanged_and_equal_counts_say_nothing(tmp_path: Path) -> None:
    given = studies(4)
    passed = list(counted(given, FOUR, tmp_path))
    assert [id(item) for item in passed] == [id(item) for item in given]


def test_every_count_that_differs_is_listed_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        list(counted(studies(3), FOUR, tmp_path))
    message = str(raised.value)
    for told in ("studies: 4 expected, 3 found", "images: 4 expected, 3 found", "boxes: 4 expected, 3 found"):
        assert told in message
    assert "patients" not in message
    assert "expected_counts=none" in message


def test_a_count_that_was_never_met_with_is_zero(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="phrases: 5 expected, 0 found"):
        check_counts(ExpectedCounts(counts={"phrases": 5}), {}, tmp_path)


def test_counts_tell_classes_apart() -> None:
    counts = StudyCounts()
    for number in range(8):
        counts.add(make_study(number, ("frontal", "lateral")))
    assert counts.by_name() == {
        "studies": 8,
        "patients": 4,
        "images": 16,
        "boxes": 16,
        "images with boxes": 16,
        "masks": 16,
        "phrases": 8,
        "positive Cardiomegaly": 2,
        "boxes of Cardiomegaly": 16,
    }


def test_a_sources_own_counts_may_be_filled_on_the_way(tmp_path: Path) -> None:
    rows: dict[str, int] = {}

    def items() -> list[Study]:
        rows["rows"] = 7
        return [make_study(0)]

    expected = ExpectedCounts(counts={"rows": 7})
    assert len(list(counted(items(), expected, tmp_path, rows))) == 1


def test_expectations_come_from_the_publisher_the_twin_or_nowhere(tmp_path: Path) -> None:
    published = {"images": 100}
    assert expected_of("published", "some_set", tmp_path, published).counts == published
    assert expected_of("none", "some_set", tmp_path, published).counts == {}
    with pytest.raises(DataError, match="crossray data twin"):
        expected_of("twin", "some_set", tmp_path, published)
    write_twin_record(tmp_path, TwinRecord(name="some_set", count=4, seed=0, expected=FOUR))
    assert expected_of("twin", "some_set", tmp_path, published) == FOUR
    with pytest.raises(DataError, match=r"twin of 'some_set', not of 'other_set'"):
        expected_of("twin", "other_set", tmp_path, published)
    with pytest.raises(DataError, match="expected_counts=twin"):
        check_counts(ExpectedCounts(counts=published), {}, tmp_path)


@pytest.mark.parametrize("content", ["[1]", "{", '{"kind": "crossray-twin", "nmae": "x"}'])
def test_an_altered_twin_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / TWIN_FILE).write_text(content)
    with pytest.raises(DataError, match="Write the twin again"):
        expected_of("twin", "some_set", tmp_path, {})


def test_every_missing_part_of_a_layout_is_listed(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    (tmp_path / "images").touch()  # a file where a folder should be
    parts: list[str | tuple[str, ...]] = ["labels.csv", "boxes.csv", ("images/", "images_*/images/")]
    with pytest.raises(DataError) as raised:
        require_layout(tmp_path, parts, source="some_set", get_it="Get it from example.org.")
    assert "missing are boxes.csv; images/ or images_*/images/" in str(raised.value)
    assert "Get it from example.org." in str(raised.value)
    (tmp_path / "boxes.csv").touch()
    (tmp_path / "images_001" / "images").mkdir(parents=True)
    require_layout(tmp_path, parts, source="some_set", get_it="")
    assert find_part(tmp_path, ("images/", "images_*/images/")) == tmp_path / "images_001" / "images"
    with pytest.raises(DataError, match="no such folder"):
        require_layout(tmp_path / "nowhere", parts, source="some_set", get_it="")


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_publishers_table_is_read_with_its_quirks(tmp_path: Path, name: str) -> None:
    # Nameless columns at the end, a quoted text over two lines, a blank line, a row too short, one too long.
    write_lines(tmp_path / name, '\ufeffid, text,,\n1,"a\nb",,\n\n2,c,,\n3\n4,d,e,\n')
    rows = list(publisher_rows(tmp_path / name, ["id", "text"]))
    assert [(row["id"], row["text"]) for row in rows] == [("1", "a\nb"), ("2", "c"), ("3", ""), ("4", "d")]
    assert [row.malformed is None for row in rows] == [True, True, False, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), ("id,id\n", "twice"), ("id,txt\n", "Did you mean 'txt'"), ('id,text\n1,"open\n', "not a CSV")],
)
def test_a_publishers_table_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    write_lines(tmp_path / "table.csv", content)
    with pytest.raises(DataError, match=message):
        list(publisher_rows(tmp_path / "table.csv", ["id", "text"]))


def test_studies_without_report_are_kept_where_the_set_has_none() -> None:
    silent = with_report(make_study(0), "")
    assert select_studies(MemorySource([silent], has_reports=False), ("frontal",)).studies == [silent]
    kept = select_studies(MemorySource([silent]), ("frontal",))
    assert (kept.studies, [event.rule for event in kept.events]) == ([], ["empty_report"])
