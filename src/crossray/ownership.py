"""One process at a time in a folder that is written and gone on with, on a disk and on file systems of many hosts.

Two things, because neither is enough alone:

- **A lock of the kernel**, which dies with its process however that dies. It refuses a second call. A file system of
  many hosts passes it on, or does not (``nolock``); and it gives the lock away when a host has not answered for long.
- **A note of who owns the folder**, with a token that is new each time. Before a file takes its name, the note is read
  again: a process that was frozen, and wakes when another has taken over, writes nothing more. It may also have been
  frozen between that look and the renaming, so the new owner removes the unfinished files that bear the old token.

Both files go when the owner ends; after a kill they stay, the lock is free, and the next call takes over.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from typing import IO

from crossray.errors import CrossRayError, FolderInUseError, FolderTakenError
from crossray.files import explained_disk_errors, fenced, write_json

LOCK_FILE, NOTE_FILE = ".owner.lock", ".owner.json"

#: For a process that was just killed and is still being taken down.
PATIENCE_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.05
_HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN)
_NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)

_HELD: set[Path] = set()  # the kernel's lock is the whole process's, and would be given to it twice
_HELD_GUARD = threading.Lock()


@dataclass(frozen=True)
class Owner:
    """Who owns a folder, or owned it and died: what stands in the note.

    ``after`` are tokens of owners before it that did not end well.
    """

    token: str
    host: str
    pid: int
    since: str
    after: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}, since {self.since}"


@dataclass(frozen=True)
class Ownership:
    """This process's hold on a folder; ``taken_over_from`` is the owner before it, if that died without ending."""

    folder: Path
    own: Owner
    taken_over_from: Owner | None

    @property
    def token(self) -> str:
        """New with each hold."""
        return self.own.token

    def check(self) -> None:
        """See :class:`crossray.files.Fence`.

        Raises:
            FolderTakenError: another process has taken the folder over.
        """
        owner = owner_of(self.folder)
        if owner is not None and owner.token == self.token:
            return
        whom = f"by {owner}" if owner is not None else "by another process, which has ended since"
        raise FolderTakenError(
            f"was taken over {whom}, while this one ({self.own}) did not answer. This one has written nothing since.",
            file=self.folder,
            remedy="Nothing is lost: the other goes on from what was complete.",
        )


def owner_of(folder: Path) -> Owner | None:
    """Who owns a folder, or owned it and died; None if nobody does, or the note cannot be read."""
    try:
        content = json.loads((folder / NOTE_FILE).read_text(encoding="utf-8"))
        return Owner(**{**content, "after": tuple(content["after"])})
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def owned(
    folder: Path,
    *also: Path,
    kind: type[CrossRayError] = CrossRayError,
    patience: float = PATIENCE_SECONDS,
) -> Iterator[Ownership]:
    """Own a folder while the block runs: nobody else does, and files in it are fenced.

    A folder that does not exist is made, and goes again if nothing was written.

    Args:
        folder: where the work is done.
        also: further files and folders that only its owner writes.
        kind: of the error where the folder cannot be written.
        patience: seconds to wait for another process to go.

    Raises:
        FolderInUseError: another process, or another thread of this one, owns it.
        CrossRayError: of ``kind``.
    """
    place = folder.resolve()
    with _HELD_GUARD:  # before the lock is waited for: two threads that wait would both be given it
        if place in _HELD:
            problem, remedy = "is in use by this very process.", "Wait, or choose another folder."
            raise FolderInUseError(problem, file=folder, remedy=remedy)
        _HELD.add(place)
    try:
        with _locked_and_fenced(folder, also, kind, patience) as ownership:
            yield ownership
    finally:
        _HELD.discard(place)


@contextmanager
def _locked_and_fenced(
    folder: Path, also: Sequence[Path], kind: type[CrossRayError], patience: float
) -> Iterator[Ownership]:
    made = not folder.exists()
    with explained_disk_errors(kind, folder):
        lock = _locked(folder, time.monotonic() + patience)
    ownership = None
    try:
        with explained_disk_errors(kind, folder):
            ownership = _take(folder, (folder, *also))
        with fenced((folder, *also), ownership):
            yield ownership
    finally:
        with suppress(OSError):
            _give_back(folder, ownership)
        lock.close()
        if made:
            with suppress(OSError):  # something was written, which is as it should be
                folder.rmdir()


def _locked(folder: Path, until: float) -> IO[str]:
    """The open lock file, held until it is closed; on a file system without locks it is only open."""
    path = folder / LOCK_FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = path.open("a+", encoding="utf-8")
        except FileNotFoundError:  # an owner that ends has just removed the folder
            continue
        try:
            # Not flock: worker processes inherit that, and would hold it when their parent was killed.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:
                warnings.warn(f"{folder} has no locks: a second call would take it over from this one.", stacklevel=6)
                return lock
            lock.close()
            if error.errno not in _HELD_BY_ANOTHER:
                raise
            if time.monotonic() >= until:
                raise _in_use(folder) from error
            time.sleep(_LOOK_AGAIN_SECONDS)
            continue
        if is_still_at(path, lock):
            return lock
        lock.close()


def is_still_at(path: Path, lock: IO[str]) -> bool:
    """Whether an open lock file is the one at ``path``, and not that of an owner that has ended and removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(lock.fileno()))
    except FileNotFoundError:
        return False


def _in_use(folder: Path) -> FolderInUseError:
    owner = owner_of(folder)
    if owner is None:
        return FolderInUseError("is in use by another process.", file=folder, remedy="Wait for it, or stop it first.")
    return FolderInUseError(
        f"is in use by {owner}.",
        file=folder,
        remedy=f"Wait for it, or end it (kill {owner.pid} on {owner.host}; kill -9 if it hangs) and give the same "
        f"command again, or choose another folder. If that host is gone for good, delete {folder / LOCK_FILE}.",
    )


def _take(folder: Path, places: Sequence[Path]) -> Ownership:
    """Note the new owner, then make sure that the one before it writes nothing more."""
    before = owner_of(folder)
    after = () if before is None else (*before.after, before.token)
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    own = Owner(uuid.uuid4().hex, socket.gethostname(), os.getpid(), since, after)
    write_json(folder / NOTE_FILE, asdict(own))
    for token in after:
        for place in places:
            _remove_unfinished(place, token)
    return Ownership(folder, own, before)


def _remove_unfinished(place: Path, token: str) -> None:
    unfinished = [*place.parent.glob(f".{escape(place.name)}.{token}.tmp"), *place.rglob(f".*.{token}.tmp")]
    for path in unfinished:
        path.unlink(missing_ok=True)


def _give_back(folder: Path, ownership: Ownership | None) -> None:
    """Remove both files, unless they are another's by now; the lock last, and still locked: whoever has opened it
    meanwhile sees that it is gone."""
    if ownership is not None:
        owner = owner_of(folder)
        if owner is None or owner.token != ownership.token:
            return
        (folder / NOTE_FILE).unlink()
    (folder / LOCK_FILE).unlink()
