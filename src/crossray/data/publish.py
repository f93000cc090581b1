"""A store takes its place whole: built in a hidden sibling folder, then renamed; the earlier one goes last."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from crossray.data.store_manifest import MANIFEST_NAME
from crossray.errors import StoreError
from crossray.files import check_fences, explained_disk_errors, sync_folder
from crossray.ownership import LOCK_FILE, NOTE_FILE, PATIENCE_SECONDS, is_still_at, owned, owner_of

INPUTS_NAME = "inputs.json"
_LOCK_NAME = ".lock"
_LOCKS = (_LOCK_NAME, NOTE_FILE, LOCK_FILE)
#: For another process that has only to make the folder fit.
_SHARED_PATIENCE_SECONDS = 5.0


def partial_folder(destination: Path) -> Path:
    """Where a store is built before it takes its place."""
    return destination.with_name(f".{destination.name}.partial")


def previous_folder(destination: Path) -> Path:
    """Where the earlier store stands for the moment between two renames."""
    return destination.with_name(f".{destination.name}.previous")


def recover(destination: Path) -> None:
    """Finish or undo a replacement that was cut between its two renames, or behind them."""
    if _is_store(destination):
        _unlock(destination)
    previous = previous_folder(destination)
    if not previous.exists():
        return
    if destination.exists():
        shutil.rmtree(previous)
    else:
        previous.rename(destination)


def check_replaceable(destination: Path) -> None:
    """Refuse to replace anything but a store or an empty folder.

    Raises:
        StoreError: ``destination`` is a file, or a folder with other things in it.
    """
    if not destination.exists():
        return
    if not destination.is_dir():
        raise StoreError("is a file.", file=destination, remedy="Choose a folder's name for the store.")
    if any(destination.iterdir()) and not _is_store(destination):
        raise StoreError(
            "is a folder with other things in it, not a store; it is left as it is.",
            file=destination,
            remedy="Choose a new name for the store.",
        )


def _is_store(folder: Path) -> bool:
    """Whether a folder is a store, perhaps a damaged one: runs and results have a manifest too."""
    manifest = folder / MANIFEST_NAME
    if not manifest.is_file():
        return False
    return '"crossray-store"' in manifest.read_text("utf-8", errors="replace") or any(folder.glob("films-*.arrow"))


@contextmanager
def work_folder(destination: Path, inputs: str, *, shared: bool = False) -> Iterator[Path]:
    """The folder to build in, locked; parts of an earlier run stay if they came from the same inputs.

    Args:
        inputs: what the store is made from.
        shared: let other processes that make parts of the same store work in it too.

    Raises:
        StoreError: another process is preparing the same store, or the place cannot be written to.
    """
    folder = partial_folder(destination)
    until = time.monotonic() + (_SHARED_PATIENCE_SECONDS if shared else PATIENCE_SECONDS)
    while (lock := _locked(folder, inputs, shared)) is None:
        if time.monotonic() >= until:
            whom = owner_of(folder) or "another process"
            raise StoreError(f"is being prepared by {whom}.", file=destination, remedy="Wait for it, or stop it first.")
        time.sleep(0.05)
    with lock, nullcontext() if shared else owned(folder, destination, kind=StoreError):
        yield folder


def _locked(folder: Path, inputs: str, shared: bool) -> IO[str] | None:
    """The open lock file of a folder that fits the inputs; None if others have it, or are just done with it."""
    path = folder / _LOCK_NAME
    with explained_disk_errors(StoreError, folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = path.open("a+")  # shared locks of network file systems want a file open for reading
        except FileNotFoundError:
            return None
        if _lock_for(lock, folder, inputs, shared):
            return lock
        lock.close()
        return None


def _lock_for(lock: IO[str], folder: Path, inputs: str, shared: bool) -> bool:
    """Take the lock, alone or with others of the same inputs; whoever is alone makes the folder fit the inputs."""
    path = folder / _LOCK_NAME
    if shared and _flock(lock, fcntl.LOCK_SH) and is_still_at(path, lock) and _is_made_from(folder, inputs):
        return True
    if not _flock(lock, fcntl.LOCK_EX) or not is_still_at(path, lock):
        return False
    _keep_if_made_from(folder, inputs)
    return not shared or _flock(lock, fcntl.LOCK_SH)


def _flock(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_made_from(folder: Path, inputs: str) -> bool:
    note = folder / INPUTS_NAME
    return note.is_file() and note.read_bytes() == inputs.encode("utf-8")


def _keep_if_made_from(folder: Path, inputs: str) -> None:
    note = folder / INPUTS_NAME
    if _is_made_from(folder, inputs):
        return
    for entry in folder.iterdir():
        if entry.name != _LOCK_NAME:
            entry.unlink()
    note.write_text(inputs, encoding="utf-8")


def publish(partial: Path, destination: Path, names: set[str]) -> None:
    """Put the finished folder in its place; only ``names`` are part of the store.

    The earlier store is renamed aside, the new one takes its name, then the earlier one is deleted: at every moment
    one whole store exists, and :func:`recover` finds it.
    """
    with explained_disk_errors(StoreError, destination):
        check_fences(destination)
        for entry in partial.iterdir():
            if entry.name not in {*names, *_LOCKS}:
                entry.unlink()
        sync_folder(partial)
        previous = previous_folder(destination)
        if destination.exists():
            destination.rename(previous)
        partial.rename(destination)  # locks and all: whoever waits for them finds the place empty, and begins anew
        _unlock(destination)
        sync_folder(destination.parent)
        if previous.exists():
            shutil.rmtree(previous)


def discard(partial: Path) -> None:
    """Remove a work folder from which everything was taken; one who waits for it may be in it by now, and stays."""
    with explained_disk_errors(StoreError, partial):
        check_fences(partial)
        for entry in partial.iterdir():
            if entry.name not in _LOCKS:
                entry.unlink()
        _unlock(partial)
        with suppress(OSError):
            partial.rmdir()


def _unlock(folder: Path) -> None:
    """Remove what only matters while a folder is worked in."""
    for path in (folder / name for name in _LOCKS):
        if path.exists():  # a store in a read-only place has none, and is not to be written to
            path.unlink(missing_ok=True)
