from __future__ import annotations

import codecs
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossray.data.sources.tables import read_table
from crossray.errors import DataError

TEXT = 'study_id,report\na1,"Größe normal,\nkein Erguss"\n\na2,naïve\n'


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode("utf-8"),
        codecs.BOM_UTF8 + TEXT.encode("utf-8"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("cp1252"),
        TEXT.replace("\n", "\r\n").encode("utf-8"),
        TEXT.replace(",report", ";report").replace("a1,", "a1;").replace("a2,", "a2;").encode("utf-8"),
        TEXT.replace(",report", "\treport").replace("a1,", "a1\t").replace("a2,", "a2\t").encode("utf-8"),
    ],
    ids=["utf-8", "bom", "utf-16-le", "utf-16-be", "cp1252", "crlf", "semicolons", "tabs"],
)
def test_every_encoding_and_delimiter_gives_the_same_rows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    table = read_table(path, ("study_id", "report"))
    assert table.columns == ("study_id", "report")
    assert [(row.number, row["study_id"], row["report"].split(",")[0]) for row in table.rows] == [
        (1, "a1", "Größe normal"),
        (3, "a2", "naïve"),
    ]
    assert table.rows[0]["no such column"] == ""


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["no mark", "bom"])
def test_rows_in_different_encodings_are_each_read_in_their_own(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(mark + "id,text\n1,Größe\n".encode() + "2,Größe – é»\n".encode("cp1252") + "3,łódź\n".encode())
    assert [row["text"] for row in read_table(path).rows] == ["Größe", "Größe – é»", "łódź"]


def test_a_control_character_costs_its_row_and_not_the_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,text\n1,whole\n2,cut\0off\n3,a longer text that leaves the file a text file" + "." * 100)
    rows = read_table(path).rows
    assert [row.malformed for row in rows] == [None, "the column 'text' holds the control character 0x00.", None]
    pq.write_table(pa.table({"id": ["1"], "text": ["cut\0off"]}), tmp_path / "t.parquet")
    assert "0x00" in (read_table(tmp_path / "t.parquet").rows[0].malformed or "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'a,b\n1,"two\nlines"\n2,"open\n3,x\n', r"t.csv, row 2: .*left open.*begins in line 4"),
        (b'a,b\n1,"say "so" here"\n', r"t.csv, row 1: .*not doubled.*begins in line 2"),
        (b"a,b\n1,x\n2,caf\x81\n", r"t.csv: is not text \(line 3 is neither utf-8 nor cp1252\)"),
    ],
)
def test_what_spoils_a_table_is_named_by_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("studyid,report\na,b\n")
    with pytest.raises(DataError, match=r"column 'study_id' is missing.*Did you mean 'studyid'"):
        read_table(path, ("study_id",))


def test_a_row_with_more_or_fewer_cells_is_marked_not_shifted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n1,2,3\n1\n")
    malformed = [row.malformed for row in read_table(path).rows]
    assert malformed[0] is None
    assert "3 cells" in (malformed[1] or "")
    assert "1 cells" in (malformed[2] or "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n , \n", "empty"),
        (b'a,b\n1,"open\n', "not a CSV"),
        (b"a,a\n1,2\n", "stands there twice"),
        (b"a,b\n\x00\x01\x02\x03\n", "not text"),
    ],
)
def test_what_is_no_table_is_refused_with_its_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read_table(path)
    assert "t.csv" in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.csv.*cannot be read"):
        read_table(tmp_path / "none.csv")


def test_a_very_long_cell_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("study_id,report\na," + "word " * 50_000 + "\n")
    assert len(read_table(path).rows[0]["report"].split()) == 50_000


def test_parquet_gives_the_same_rows_as_csv(tmp_path: Path) -> None:
    columns = {"study_id": [1.0, 2.0, None], "report": ["x ", None, "z"], "height": [2, None, 3]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    rows = read_table(tmp_path / "t.parquet", ("study_id",)).rows
    assert [dict(row.cells) for row in rows] == [
        {"study_id": "1", "report": "x", "height": "2"},
        {"study_id": "2", "report": "", "height": ""},
        {"study_id": "", "report": "z", "height": "3"},
    ]
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="not a Parquet"):
        read_table(tmp_path / "broken.parquet")
