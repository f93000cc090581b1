"""A store whose files are whole and sealed, and whose tables were made to mislead, is refused before it is used."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from benchmarks.fuzz import fit_manifest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.store import Store
from crossray.errors import StoreError
from tests.data.studies import make_store, studies

Rows = list[dict[str, Any]]


def rewritten(path: Path, table: str, change: Callable[[Rows], object] = len, compression: str | None = None) -> Path:
    """A small store in ``path`` after a change of a table's rows, its manifest made to fit."""
    file = make_store(path, studies(3)).path / table
    with pa.ipc.open_stream(file.read_bytes()) as reader:
        schema, rows = reader.schema, reader.read_all().to_pylist()
    change(rows)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(file, schema, options=options) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema))
    fit_manifest(path, file, "manifest.json")
    return path


def setting(row: int, name: str, value: object) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[row][name] = value

    return change


STUDIES, FILMS = "studies-00000.arrow", "films-00000.arrow"
BOX = {"label": None, "x_min": 0.0, "y_min": 0.0, "x_max": 1.0, "y_max": 1.0}


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        (STUDIES, setting(1, "text", None), "'text': holds a null"),
        (STUDIES, setting(1, "study_id", None), "'study_id': holds a null"),
        (STUDIES, setting(1, "sections", [None]), "'sections': holds a null"),
        (STUDIES, setting(1, "attributes", [{"name": None, "value": "x"}]), "'attributes': holds a null"),
        (STUDIES, setting(1, "labels", [1.0]), "has not 2 labels"),
        (FILMS, setting(0, "boxes", [BOX]), "'boxes': holds a null"),
        (FILMS, setting(2, "study_row", 3), "none of the shard's 3"),
        (FILMS, setting(0, "study_row", -1), "none of the shard's 3"),
        (FILMS, setting(1, "study_row", 2**31 - 1), "none of the shard's 3"),
        (FILMS, setting(2, "study_row", -(2**31)), "not in their order"),  # the step down overflows 32 bits
        (FILMS, setting(1, "pixels", b"x" * 255), "not 16 x 16 pixels"),
    ],
)
def test_values_that_no_store_has_are_refused_with_their_file(
    tmp_path: Path, table: str, change: Callable[[Rows], None], said: str
) -> None:
    path = rewritten(tmp_path / "s", table, change)
    with pytest.raises(StoreError) as refused:
        Store.open(path, every_value=True)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("table", [STUDIES, FILMS])
@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_table_is_refused_before_it_is_inflated(
    tmp_path: Path, table: str, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(tmp_path / "s", table, setting(0, "study_id", "x" * 1_000_000), compression)
    assert (path / table).stat().st_size < 100_000
    before = pa.total_allocated_bytes()
    with pytest.raises(StoreError, match="is compressed"):
        Store.open(path, every_value=True)
    assert pa.total_allocated_bytes() - before < 500_000


def test_pixels_that_lie_elsewhere_are_refused_even_without_looking_at_values(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="do not lie in the file"):
        Store.open(rewritten(tmp_path / "s", FILMS, compression="zstd"))


def huge_png() -> bytes:
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(10))), (b"IEND", b""))
    chunks = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("png", [huge_png(), huge_png().replace(b"\0\0u0", b"\0\0\0\x20"), b"GIF89a", b""])
def test_a_mask_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path, png: bytes) -> None:
    path = rewritten(tmp_path / "s", FILMS, setting(0, "masks", [{"name": "heart", "png": png}]))
    store = Store.open(path, every_value=True)
    with pytest.raises(StoreError, match="was altered"):
        store.mask(0, "heart")
    assert store.mask(1, "heart").shape == (16, 16)


@pytest.mark.parametrize("command", ["describe", "audit", "split", "verify"])
def test_commands_that_only_open_a_store_check_its_values(tmp_path: Path, command: str) -> None:
    path = rewritten(tmp_path / "s", STUDIES, setting(1, "sections", [None]))
    result = CliRunner().invoke(app, ["data", command, str(path)])
    assert isinstance(result.exception, StoreError)
    assert "holds a null" in str(result.exception)


def test_the_studies_of_a_damaged_shard_are_told_from_a_checked_table_alone(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "s", STUDIES, setting(1, "study_id", None))
    films = path / FILMS
    films.write_bytes(films.read_bytes()[:-1] + b"\1")
    result = CliRunner().invoke(app, ["data", "verify", str(path)])
    assert isinstance(result.exception, StoreError)
    assert "holds a null" in str(result.exception)


def test_a_manifest_is_made_to_fit_what_was_written(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "s", STUDIES)
    assert len(Store.open(path, every_value=True)) == 3
    assert json.loads((path / "manifest.json").read_text())["seal"]
