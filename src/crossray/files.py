"""Files that are whole or absent: written to a temporary name, fsynced, then renamed; and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

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


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under its name only when it is complete and on the disk.

    The bytes go to a hidden sibling; leaving the block fsyncs and renames it, an exception removes it, and a kill
    leaves at most the sibling: whatever stood at ``path`` before stays whole until the rename.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


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
