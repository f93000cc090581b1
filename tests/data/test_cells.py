from __future__ import annotations

from pathlib import Path

import pytest

from crossray.data.sources.cells import (
    BadRowError,
    MissingFilmError,
    box_by_corners,
    box_by_size,
    check_row,
    film_in,
    number_of,
    rejected,
    rows_by,
)
from crossray.data.sources.expected import PublishedOptions
from crossray.data.sources.fingerprint import fingerprint_of
from crossray.data.sources.tables import Row
from crossray.data.study import Box

TABLE = Path("boxes.csv")


def row(number: int = 7, malformed: str | None = None, **cells: str) -> Row:
    return Row(number, cells, malformed)


def test_rows_are_gathered_by_a_column_wherever_they_stand() -> None:
    rows = [row(1, id="b"), row(2, id="a"), row(3, id="b")]
    assert [(name, [r.number for r in found]) for name, found in rows_by(rows, "id").items()] == [
        ("b", [1, 3]),
        ("a", [2]),
    ]


def test_a_box_is_read_by_its_size_and_by_its_corners() -> None:
    cells = row(a="1.5", b="2", c="3", d="4e1")
    assert box_by_size("Mass", cells, "abcd", TABLE) == Box("Mass", 1.5, 2.0, 4.5, 42.0)
    assert box_by_corners("Mass", cells, "abcd", TABLE) == Box("Mass", 1.5, 2.0, 3.0, 40.0)


@pytest.mark.parametrize("written", ["", "nan", "inf", "12 px", "1,5"])
def test_a_cell_without_a_finite_number_is_told_with_its_row(written: str) -> None:
    with pytest.raises(BadRowError, match=r"boxes\.csv, row 7: a '.*' is not a number"):
        number_of(row(a=written), "a", TABLE)


@pytest.mark.parametrize(("width", "right"), [("0", "1"), ("-2", "0.5")])
def test_a_box_without_area_is_refused(width: str, right: str) -> None:
    with pytest.raises(BadRowError, match=r"row 7: the box .* has no area"):
        box_by_size("Mass", row(a="1", b="1", c=width, d="5"), "abcd", TABLE)
    with pytest.raises(BadRowError, match=r"row 7: the box .* has no area"):
        box_by_corners("Mass", row(a="1", b="1", c=right, d="5"), "abcd", TABLE)


def test_a_row_of_wrong_length_or_without_id_is_refused() -> None:
    check_row(row(id="x"), "id", TABLE)
    with pytest.raises(BadRowError, match="row 7: has 3 cells"):
        check_row(row(malformed="has 3 cells, the header has 2.", id="x"), "id", TABLE)
    with pytest.raises(BadRowError, match="row 7: id is empty"):
        check_row(row(id=""), "id", TABLE)


def test_a_rejection_keeps_rule_place_and_remedy() -> None:
    error = BadRowError("is none.", file=TABLE, row=7, remedy="Write one.")
    left_out = rejected("s1", error)
    assert (left_out.study_id, left_out.rule, left_out.reason) == ("s1", "bad_row", "is none. Write one.")
    assert (left_out.file, left_out.row, left_out.film_id) == ("boxes.csv", 7, None)


def test_a_film_that_is_not_there_is_named() -> None:
    films = {"a": Path("films/a.dcm")}
    assert film_in(films, "a", Path("films")) == Path("films/a.dcm")
    with pytest.raises(MissingFilmError, match="'b' lies in films/"):
        film_in(films, "b", Path("films"))


def test_a_fingerprint_changes_with_options_that_decide_what_studies_are(tmp_path: Path) -> None:
    class Options(PublishedOptions):
        equalise: bool = True

    (tmp_path / "t.csv").write_text("a\n1\n")

    def of(**options: object) -> str:
        return fingerprint_of([tmp_path / "t.csv"], [], tmp_path, Options.model_validate(options))

    assert of() == of(expected_counts="none")
    assert len({of(), of(equalise=False), fingerprint_of([tmp_path / "t.csv"], [], tmp_path)}) == 3
