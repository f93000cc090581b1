"""Files that are whole or absent: written to a temporary name, fsynced, then renamed; their hashes, and what of them
was damaged since."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import IO, Any, Protocol

from crossray.errors import CrossRayError

_BLOCK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_json(content: Mapping[str, Any] | list[Any]) -> str:
    """sha256 (hex) of a JSON value in one canonical spelling: sorted keys, no spaces."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable (a rename is only safe once its folder is on the disk)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Fence(Protocol):
    """Whether this process may still write below some places; ``token`` is in the names of its unfinished files."""

    @property
    def token(self) -> str:
        """A name of this process's hold, of letters and digits."""
        ...

    def check(self) -> None:
        """Raise if it may not."""
        ...


_FENCES: dict[Path, Fence] = {}  # of this process, as its locks are


@contextmanager
def fenced(places: Sequence[Path], fence: Fence) -> Iterator[None]:
    """While the block runs, files at and below ``places`` take their names only after a look at the fence."""
    known = {place.absolute(): fence for place in places}
    around = {place: _FENCES[place] for place in known if place in _FENCES}
    _FENCES.update(known)
    try:
        yield
    finally:
        for place in known:
            _FENCES.pop(place, None)
        _FENCES.update(around)


def check_fences(path: Path) -> None:
    """To be called before anything at ``path`` is altered by other means than :func:`whole_file`.

    Raises:
        FolderTakenError: this process may not write there any more.
    """
    for fence in _fences_around(path):
        fence.check()


def _fences_around(path: Path) -> list[Fence]:
    """The nearest first."""
    place = path.absolute()
    return [_FENCES[folder] for folder in (place, *place.parents) if folder in _FENCES]


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under its name only when it is complete and on the disk.

    The bytes go to a hidden sibling; leaving the block fsyncs and renames it, an exception removes it, and a kill
    leaves at most the sibling: whatever stood at ``path`` before stays whole until the rename. The next writer of the
    same file removes what a killed one left.

    Raises:
        FolderTakenError: the file lies where this process may write no more (see :func:`fenced`).
    """
    _remove_left_behind(path)
    fences = _fences_around(path)
    writer = fences[0].token if fences else os.getpid()
    temporary = path.with_name(f".{path.name}.{writer}.tmp")
    try:
        with temporary.open("wb") as file:
            with suppress(OSError):  # a file system without locks: then nothing that is left behind is removed
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
        check_fences(path)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError):  # a new owner removes what the one before was writing
            check_fences(path)
        raise
    sync_folder(path.parent)


def _remove_left_behind(path: Path) -> None:
    """Remove temporary files of writers that were killed: a living one holds a lock on its own."""
    for left in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that it is either the old one or the complete new one, never a part."""
    with whole_file(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: Path, content: Any) -> None:
    """Write a value as readable JSON, whole or not at all."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def explained_disk_errors(kind: Callable[..., CrossRayError], place: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and the like into one of our errors, with what to do."""
    try:
        yield
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})."
        raise kind(problem, file=error.filename or place, remedy=_disk_remedy(error)) from error


def _disk_remedy(error: OSError) -> str:
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return "Choose a folder that you may write to; what stood there before is unchanged."
    return "Free space on that disk or choose another folder, then run the command again: finished parts are kept."


@dataclass(frozen=True)
class FileEntry:
    """What a manifest says of a file: its sha256 and its size (unknown in runs of earlier versions)."""

    sha256: str
    bytes: int | None = None

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """The entry of a file as it is now."""
        return cls(sha256_of(path), path.stat().st_size)


@dataclass(frozen=True)
class Damage:
    """A file that is not the one that was written, and in which way: a sentence without its subject."""

    file: Path
    problem: str


def damages_of(
    folder: Path, files: Mapping[str, FileEntry], done: Callable[[str], None] = lambda name: None
) -> list[Damage]:
    """Hash the files of a manifest, several at once, and list what is missing, cut short or changed, in its order.

    Args:
        folder: which the names are relative to.
        files: name → what was written.
        done: told each name, in order, when it has been looked at.
    """
    found = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # hashing leaves the interpreter to others
        for name, problem in zip(files, pool.map(lambda n: _problem_of(folder / n, files[n]), files), strict=True):
            if problem is not None:
                found.append(Damage(folder / name, problem))
            done(name)
    return found


def _problem_of(path: Path, entry: FileEntry) -> str | None:
    if not path.is_file():
        return "is missing."
    size = path.stat().st_size
    if entry.bytes is not None and size != entry.bytes:
        return f"has {size} bytes, {entry.bytes} were written."
    return None if sha256_of(path) == entry.sha256 else "was altered: its sha256 is not the one that was written."


SEAL = "seal"


def write_sealed_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with a hash of its own content as the last key, so that a manifest shows its own damage too."""
    write_json(path, {**content, SEAL: sha256_of_json(dict(content))})


def unsealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content without its seal; content of an earlier version has none.

    Raises:
        ValueError: the content is not the one that was sealed.
    """
    own = {name: value for name, value in content.items() if name != SEAL}
    if SEAL in content and content[SEAL] != sha256_of_json(own):
        raise ValueError("its content does not match its seal")
    return own
