"""One process at a time in a folder: by the kernel's lock, and where that is lost by a look before each renaming."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from crossray import files, ownership
from crossray.errors import ConfigError, FolderInUseError, FolderTakenError
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.transfer import transfer as transfer_to
from crossray.evaluation.transfer_config import TransferConfig, TransferRequest
from crossray.files import check_fences, write_whole
from crossray.inference.search.build import build_index
from crossray.ownership import LOCK_FILE, NOTE_FILE, owned, owner_of
from tests.ownership import another_owner, take_over


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_second_process_is_told_whose_the_folder_is_and_what_to_do(tmp_path: Path) -> None:
    with another_owner(tmp_path) as other:
        with pytest.raises(FolderInUseError) as told, owned(tmp_path, patience=0.0):
            pass
        message = str(told.value)
        assert f"{tmp_path}: is in use by process {other.pid} on host {os.uname().nodename}, since 20" in message
        assert f"kill {other.pid} on" in message
        assert str(tmp_path / LOCK_FILE) in message
    with owned(tmp_path) as hold:  # it has ended well
        assert hold.taken_over_from is None
    assert names_in(tmp_path) == ["theirs.txt"]


def test_a_killed_owner_leaves_nothing_that_needs_a_human_even_if_its_children_live(tmp_path: Path) -> None:
    with another_owner(tmp_path, forks=True) as other:
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        with owned(tmp_path, patience=0.0) as hold:
            assert hold.taken_over_from is not None
            assert hold.taken_over_from.pid == other.pid
            write_whole(tmp_path / "mine.txt", "mine")
    assert names_in(tmp_path) == ["mine.txt", "theirs.txt"]


def test_one_process_does_not_own_a_folder_twice(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with owned(tmp_path):
        with pytest.raises(FolderInUseError, match="by this very process"), owned(tmp_path / "link"):
            pass
        write_whole(tmp_path / "mine.txt", "mine")  # the refusal took nothing away


def test_of_two_threads_that_wait_for_another_process_one_gets_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = ownership._locked

    def meanwhile_the_other_thread(folder: Path, until: float) -> IO[str]:
        with pytest.raises(FolderInUseError, match="by this very process"), owned(tmp_path):
            pass
        return lock(folder, until)

    monkeypatch.setattr(ownership, "_locked", meanwhile_the_other_thread)
    with owned(tmp_path):
        write_whole(tmp_path / "mine.txt", "mine")
    assert names_in(tmp_path) == ["mine.txt"]


def test_who_was_taken_over_writes_nothing_more_and_says_by_whom(tmp_path: Path) -> None:
    with owned(tmp_path):
        write_whole(tmp_path / "theirs.txt", "mine")
        with another_owner(tmp_path, blind=True) as other, pytest.raises(FolderTakenError) as told:
            write_whole(tmp_path / "late.txt", "mine")
    assert f"was taken over by process {other.pid} on host" in str(told.value)
    assert f"while this one (process {os.getpid()} on host" in str(told.value)
    assert names_in(tmp_path) == ["theirs.txt"]
    assert (tmp_path / "theirs.txt").read_text() == "theirs"


def test_the_owner_that_has_taken_over_stays_it_when_the_one_before_ends(tmp_path: Path) -> None:
    with another_owner(tmp_path) as frozen, another_owner(tmp_path, blind=True) as newer:
        frozen.communicate("")
        assert frozen.returncode == 0
        owner = owner_of(tmp_path)
        assert owner is not None
        assert owner.pid == newer.pid
    assert names_in(tmp_path) == ["theirs.txt"]


def test_frozen_between_the_look_and_the_renaming_it_writes_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_then_freeze(path: Path) -> None:
        monkeypatch.undo()
        check_fences(path)
        take_over(tmp_path)

    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with owned(tmp_path):
        monkeypatch.setattr(files, "check_fences", look_then_freeze)
        with pytest.raises(FolderTakenError, match="by another process, which has ended since"):
            write_whole(folder / "state", "old")
    assert names_in(folder) == []


def test_unfinished_files_of_other_owners_stay(tmp_path: Path) -> None:
    left = tmp_path / ".state.0123abcd.tmp"
    left.write_text("of a process that owns a folder further up")
    with owned(tmp_path):
        take_over(tmp_path)
        with pytest.raises(FolderTakenError):
            check_fences(tmp_path)
    assert left.is_file()


def test_after_a_chain_of_kills_nobody_before_is_let_back_in(tmp_path: Path) -> None:
    tokens = []
    for _ in range(3):
        with another_owner(tmp_path) as other:
            tokens.append(json.loads((tmp_path / NOTE_FILE).read_text())["token"])
            (tmp_path / f".state.{tokens[-1]}.tmp").write_text("half")
            other.kill()
            other.wait()
    with owned(tmp_path) as hold:
        assert hold.own.after == tuple(tokens)
        assert names_in(tmp_path) == [NOTE_FILE, LOCK_FILE, "theirs.txt"]


def test_a_file_outside_the_folder_may_belong_to_it(tmp_path: Path) -> None:
    out = tmp_path / "films.npz"
    with owned(tmp_path / ".films.npz.partial", out):
        write_whole(out, "mine")
        take_over(tmp_path / ".films.npz.partial")
        with pytest.raises(FolderTakenError):
            write_whole(out, "late")
    assert out.read_text() == "mine"


def test_a_place_that_two_holds_share_stays_the_outer_ones_when_the_inner_one_ends(tmp_path: Path) -> None:
    out = tmp_path / "films.npz"
    with owned(tmp_path / "outer", out):
        with owned(tmp_path / "inner", out):
            write_whole(out, "inner")
        write_whole(out, "outer")
        take_over(tmp_path / "outer")
        with pytest.raises(FolderTakenError):
            write_whole(out, "late")
    assert out.read_text() == "outer"


def test_a_file_belongs_to_the_owner_of_every_folder_around_it(tmp_path: Path) -> None:
    with owned(tmp_path / "run"), owned(tmp_path):
        take_over(tmp_path)
        with pytest.raises(FolderTakenError, match=f"{tmp_path}: was taken"):
            write_whole(tmp_path / "run" / "state", "late")


def test_without_locks_the_newer_owner_writes_and_the_older_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    hold = owned(tmp_path)
    with pytest.warns(UserWarning, match="has no locks"):
        hold.__enter__()
    write_whole(tmp_path / "mine.txt", "mine")
    take_over(tmp_path)
    with pytest.raises(FolderTakenError):
        write_whole(tmp_path / "mine.txt", "late")
    hold.__exit__(None, None, None)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_folder_in_which_nothing_was_written_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), owned(tmp_path / "run"):
        raise ZeroDivisionError
    assert names_in(tmp_path) == []
    with owned(tmp_path / "run"):
        write_whole(tmp_path / "run" / "state", "mine")
    assert names_in(tmp_path / "run") == ["state"]


def test_a_place_that_cannot_be_a_folder_is_an_error_of_the_callers_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"), owned(tmp_path / "file", kind=ConfigError):
        pass


def evaluate(run: Path, store: Path, out: Path) -> None:
    evaluate_runs(EvaluationRequest(runs=(run,), out=out))


def transfer(run: Path, store: Path, out: Path) -> None:
    request = TransferRequest(run, store, "split.csv", store, out)
    transfer_to(request, TransferConfig(labels=("Edema",)))


@pytest.mark.parametrize("command", [evaluate, transfer, build_index])
def test_commands_refuse_a_folder_in_use_before_they_read_anything(
    command: Callable[[Path, Path, Path], object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with another_owner(out, writes=False) as other, pytest.raises(FolderInUseError, match=f"process {other.pid} on"):
        command(tmp_path / "run", tmp_path / "store", out)


def test_a_note_that_cannot_be_read_names_nobody(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"token": 1}', "null"):
        (tmp_path / NOTE_FILE).write_text(text)
        assert owner_of(tmp_path) is None
        with owned(tmp_path) as hold:
            assert hold.taken_over_from is None
