"""Fingerprints of sources: tables by content, films by name, size and time of change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from crossray.errors import DataError
from crossray.files import sha256_of


def fingerprint_of(tables: Iterable[Path], films: Iterable[Path], root: Path) -> str:
    """sha256 (hex) over the content of ``tables`` and over name, size and time of change of ``films``.

    Films are not read: a hospital's export is terabytes. A film changed in place gets a new time.

    Raises:
        DataError: a table cannot be read.
    """
    digest = hashlib.sha256()
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
