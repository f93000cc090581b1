"""Files that are whole or absent, and what a killed writer leaves behind."""

from __future__ import annotations

import fcntl
from pathlib import Path

from crossray.files import write_whole


def test_what_a_killed_writer_left_behind_goes_with_the_next_writing(tmp_path: Path) -> None:
    left, other = tmp_path / ".a[1].json.123.tmp", tmp_path / ".b.json.123.tmp"
    for path in (left, other):
        path.write_text("half")
    write_whole(tmp_path / "a[1].json", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "a[1].json"]


def test_a_living_writers_file_stays(tmp_path: Path) -> None:
    living = tmp_path / ".a.json.123.tmp"
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_whole(tmp_path / "a.json", "mine")
        assert living.is_file()
    write_whole(tmp_path / "a.json", "mine")
    assert not living.exists()
