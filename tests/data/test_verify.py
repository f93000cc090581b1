from __future__ import annotations

from pathlib import Path

import pytest

from crossray.data.verify import verify_store
from crossray.errors import StoreError
from tests.data.studies import MemorySource, make_store, studies


def test_a_whole_store_passes_and_every_byte_is_looked_at(tmp_path: Path) -> None:
    make_store(tmp_path / "s", studies(3))
    seen: list[tuple[int, int]] = []
    found = verify_store(tmp_path / "s", show=lambda done, total: seen.append((done, total)))
    assert found.files == 4
    assert seen[-1] == (found.bytes, found.bytes)
    assert found.changes == ()


@pytest.mark.parametrize("name", ["films-00000.arrow", "studies-00000.arrow", "quarantine.csv", "funnel.json"])
def test_one_altered_byte_of_any_file_is_found_and_named(tmp_path: Path, name: str) -> None:
    path = make_store(tmp_path / "s", studies(3)).path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"{name}.*altered.*prepare"):
        verify_store(tmp_path / "s")


def test_a_half_written_file_and_a_missing_one_are_named(tmp_path: Path) -> None:
    path = make_store(tmp_path / "s", studies(3)).path / "quarantine.csv"
    path.write_bytes(path.read_bytes()[:5])
    with pytest.raises(StoreError, match=r"quarantine.csv: has 5 bytes"):
        verify_store(tmp_path / "s")
    path.unlink()
    with pytest.raises(StoreError, match=r"quarantine.csv: is missing"):
        verify_store(tmp_path / "s")


def test_a_file_that_does_not_belong_is_named(tmp_path: Path) -> None:
    (make_store(tmp_path / "s", studies(3)).path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"notes.txt"):
        verify_store(tmp_path / "s")


def test_a_source_that_changed_since_is_told(tmp_path: Path) -> None:
    make_store(tmp_path / "s", studies(3))
    assert verify_store(tmp_path / "s", MemorySource(studies(3))).changes == ()
    changed = verify_store(tmp_path / "s", MemorySource(studies(3), version="2"))
    assert changed.changes == ("the files of the source changed",)
