"""The fault harness: its parts, and (slow) every cell once, from the command to the table."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.faults.inject import Course, Moment, arm, count_operations, draw_moment, kill, stop
from benchmarks.faults.process import Ended
from benchmarks.faults.table import markdown

ROOT = Path(__file__).parents[2]
FILES = 4


def write_files(folder: Path) -> None:
    """Four files, each with two operations on the disk: it is opened, and it is renamed."""
    for number in range(FILES):
        temporary = folder / f".{number}"
        temporary.write_text("content")
        temporary.rename(folder / f"file{number}")


def in_a_fork(folder: Path, moment: Moment | None) -> int:
    """The exit code of a process that writes the files, disturbed at a moment; without one it returns the count."""
    process = os.fork()
    if process == 0:
        os.chdir(folder)
        last = 0

        def note(number: int) -> None:
            nonlocal last
            last = number + 1

        if moment is None:
            count_operations(note)
        else:
            arm(moment, kill)
        write_files(Path())
        os._exit(last)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_operations_on_the_disk_are_counted(tmp_path: Path) -> None:
    assert in_a_fork(tmp_path, None) == 2 * FILES


def test_a_process_is_killed_before_the_operation_that_was_drawn(tmp_path: Path) -> None:
    for at in range(2 * FILES):
        folder = tmp_path / str(at)
        folder.mkdir()
        assert in_a_fork(folder, Moment("operation", at)) == -signal.SIGKILL
        assert len(list(folder.glob("file*"))) == at // 2
        assert len(list(folder.glob(".?"))) == at % 2


def test_a_process_that_is_stopped_lives_on() -> None:
    process = os.fork()
    if process == 0:
        stop()
        os._exit(7)
    _, status = os.waitpid(process, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(process, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7


def test_a_message_is_clear_if_it_is_one_and_lacks_nothing() -> None:
    assert Ended(2, "", "films 3/7\ncrossray: full. Free space.", 0.1).is_clear
    assert not Ended(2, "", "crossray: full. Free space.\nTraceback (most recent call last):", 0.1).is_clear
    assert not Ended(1, "", "crossray: full. Free space.", 0.1).is_clear
    assert not Ended(2, "", "crossray: lost.", 0.1, unsaid="not said which").is_clear


def test_moments_are_seeded_and_of_both_kinds() -> None:
    course = Course(operations=40, seconds=2.0)
    drawn, again = ([draw_moment(rng, course) for _ in range(60)] for rng in (random.Random(5), random.Random(5)))
    assert drawn == again
    operations = [moment.at for moment in drawn if moment.kind == "operation"]
    seconds = [moment.at for moment in drawn if moment.kind == "second"]
    assert len(operations) > 10
    assert len(seconds) > 10
    assert all(at in range(40) for at in operations)
    assert all(0 < at < 2 for at in seconds)


def test_the_table_counts_tries_and_tells_what_went_wrong() -> None:
    one = {"fault": "disk full", "place": "train", "seed": 0, "struck": "8 kB", "code": 2, "said": "crossray: full."}
    tries = [one | {"outcome": "same bytes", "fine": True}] * 9 + [one | {"outcome": "other bytes", "fine": False}]
    killed = one | {"fault": "kill -9", "code": -9, "outcome": "same bytes", "fine": True}
    facts = {"versions": {"torch": "2"}, "command": "python -m benchmarks.faults", "date": "today"}
    table = markdown({**facts, "seconds": 7, "tries": [*tries, killed]})
    assert "11 tries in 2 cells, 10 of them ended as they should." in table
    assert "| disk full | train | 10 | 10 one clear message | 9 same bytes, 1 other bytes |" in table
    assert "| kill -9 | train | 1 | 1 killed | 1 same bytes |" in table


@pytest.mark.slow
def test_every_fault_at_every_place_ends_in_the_same_bytes_or_says_what_is_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.faults", "--tries", "1", "--cold", "1"]
    command += ["--folder", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    content = json.loads((tmp_path / "out" / "faults.json").read_text(encoding="utf-8"))
    tried = {(one["fault"], one["place"]) for one in content["tries"]}
    assert len(tried) == len(content["tries"]) >= 40
    assert {one["outcome"] for one in content["tries"]} == {"same bytes", "lost, and says which"}
    assert (tmp_path / "out" / "table.md").read_text(encoding="utf-8") == markdown(content)
