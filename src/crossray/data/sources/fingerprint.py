"""Fingerprints of sources: tables by content, films by name, size and time of change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from crossray.errors import DataError
from crossray.files import sha256_of
from crossray.settings import Settings


def fingerprint_of(tables: Iterable[Path], films: Iterable[Path], root: Path, options: Settings | None = None) -> str:
    """sha256 (hex) over the content of ``tables`` and over name, size and time of change of ``films``.

    Films are not read: a hospital's export is terabytes. A film changed in place gets a new time.

    Args:
        tables: read whole.
        films: only looked at.
        root: films are named relative to it, so that a set may be moved.
        options: of a source whose options decide what its studies are. Which counts it checks decides nothing.

    Raises:
        DataError: a table cannot be read.
    """
    digest = hashlib.sha256()
    if options is not None:
        digest.update(f"{options.model_dump_json(exclude={'expected_counts'})}\n".encode())
    for table in tables:
        try:
            digest.update(f"{table.name} {sha256_of(table)}\n".encode())
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror}).", file=table) from error
    for film in sorted(films):
        name = film.relative_to(root) if film.is_relative_to(root) else film
        try:
            status = film.stat()
            digest.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{name} absent\n".encode())
    return digest.hexdigest()
