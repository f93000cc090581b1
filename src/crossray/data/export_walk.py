"""Which files lie in an export: links followed once, loops not at all, and nothing opened that is no file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossray.errors import DataError


@dataclass
class ExportFiles:
    """Paths relative to the export, with slashes.

    Attributes:
        files: what may be read, links to files among them.
        linked_folders: links that are not followed, each with the reason.
        no_files: pipes, sockets and devices: to open one may wait for ever.
    """

    files: list[str] = field(default_factory=list)
    linked_folders: dict[str, str] = field(default_factory=dict)
    no_files: list[str] = field(default_factory=list)


def files_below(folder: Path, leave_out: Sequence[Path] = ()) -> ExportFiles:
    """Everything below a folder, in the order of names.

    A link to a folder outside of the export is followed, so that an export may be put together of several discs.
    What it leads to is looked at once.

    Args:
        folder: the export.
        leave_out: files and folders that are no part of it.

    Raises:
        DataError: the folder is missing, or a folder in it cannot be listed.
    """
    if not folder.is_dir():
        raise DataError("is not a folder.", file=folder, remedy="Give the folder with the exported DICOM files.")
    walk = _Walk(folder.resolve(), {path.name for path in leave_out}, {path.resolve() for path in leave_out})
    waiting = [(folder, "")]
    while waiting:
        waiting += reversed(walk.look_at(*waiting.pop()))
    return walk.found


class _Walk:
    def __init__(self, root: Path, names: set[str], leave_out: set[Path]) -> None:
        self.found = ExportFiles()
        self._root = root
        self._names = names
        self._leave_out = leave_out
        self._seen: dict[tuple[int, int], str] = {}

    def look_at(self, folder: Path, place: str) -> list[tuple[Path, str]]:
        """Note what lies in a folder; its folders that are to be looked at too."""
        folders = []
        try:
            if (problem := self._seen_before(folder, place)) is not None:
                self.found.linked_folders[place] = problem
                return []
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
            for entry in entries:
                path, name = Path(entry.path), f"{place}/{entry.name}" if place else entry.name
                if entry.name in self._names and path.resolve() in self._leave_out:
                    continue
                # Not entry.is_dir(): of a link that leads to itself it raises.
                if not (path.is_dir() if entry.is_symlink() else entry.is_dir()):
                    self._note_file(path, name)
                elif entry.is_symlink() and (problem := self._leads_back(path)) is not None:
                    self.found.linked_folders[name] = problem
                else:
                    folders.append((path, name))
        except OSError as error:
            raise DataError(f"cannot be listed ({error.strerror}).", file=error.filename) from error
        return folders

    def _note_file(self, path: Path, name: str) -> None:
        # A broken link or one in a circle is read, as any file, and its error told.
        there = path.is_file() or not path.exists()
        (self.found.files if there else self.found.no_files).append(name)

    def _leads_back(self, link: Path) -> str | None:
        target = link.resolve()
        if target.is_relative_to(self._root):
            return "a link to a folder of the export, whose files are looked at there."
        if self._root.is_relative_to(target):
            return "a link to a folder that holds the export itself: not followed."
        return None

    def _seen_before(self, folder: Path, place: str) -> str | None:
        status = folder.stat()
        first = self._seen.setdefault((status.st_dev, status.st_ino), place)
        return None if first == place else f"the same folder as {first}, whose files are looked at there."
