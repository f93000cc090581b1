"""What is missing from a folder that should hold a published data set, and where that set is to be had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crossray.errors import DataError


def require_layout(root: Path, parts: Sequence[str | tuple[str, ...]], *, source: str, get_it: str) -> None:
    """Refuse a folder that is not laid out as the publisher does it.

    Args:
        root: the folder.
        parts: what must be there: a name below ``root``, with ``*`` where names vary, ``/`` at the end of a folder's;
            or several names of which one is enough.
        source: name of the source.
        get_it: where the set is to be had and on what terms, a sentence.

    Raises:
        DataError: there is no such folder, or parts are missing: each is listed.
    """
    if not root.is_dir():
        raise DataError("there is no such folder.", file=root, remedy=f"Give the folder that holds {source}. {get_it}")
    missing = [part for part in parts if find_part(root, part) is None]
    if missing:
        named = "; ".join(part if isinstance(part, str) else " or ".join(part) for part in missing)
        raise DataError(f"is not laid out as {source} is: missing are {named}.", file=root, remedy=get_it)


def is_file(path: Path) -> bool:
    """Whether there is such a file; not if no file can have the name, as one too long, that a table may hold."""
    try:
        return path.is_file()
    except OSError:
        return False


def find_part(root: Path, part: str | tuple[str, ...]) -> Path | None:
    """The first file or folder below ``root`` that a part of a layout names, or nothing."""
    for name in (part,) if isinstance(part, str) else part:
        folder = name.endswith("/")
        found = (path for path in sorted(root.glob(name.rstrip("/"))) if path.is_dir() or not folder)
        if (first := next(found, None)) is not None:
            return first
    return None
