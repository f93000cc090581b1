"""Finished pieces of an evaluation on disk, so that one that was stopped goes on where it was.

A cell is one model, task and fold: an ``.npz`` of plain arrays with its key, a hash of everything it was made from,
which is also in its name. Evaluations of several recipes may share a folder of cells: floors are then made once. One
that is half-written does not exist, since files appear whole.
"""

from __future__ import annotations

import io
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossray.errors import CrossRayError
from crossray.files import explained_disk_errors, sha256_of_json, write_whole

Arrays = dict[str, NDArray[Any]]

#: What numpy and zipfile raise for an archive in which bits have flipped (a RuntimeError where it seems encrypted).
DAMAGED_ARCHIVE = (ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

_KEY, _SECONDS = "cell_key", "cell_seconds"


class Cells:
    """A folder of cells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str, made_from: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """The arrays of a cell: read if its key fits, else made and written.

        Args:
            name: ``fold/model-task``; becomes the file's name, with the key's first letters.
            made_from: JSON values that the arrays depend on.
            make: computes them; numbers, booleans and strings only (nothing is unpickled when they are read).
        """
        path, key = self._place(name, made_from)
        found = _read(path, key)
        if found is not None:
            return found.arrays
        started = time.perf_counter()
        arrays = make()
        buffer = io.BytesIO()
        seconds = time.perf_counter() - started
        content: dict[str, Any] = {**arrays, _KEY: np.array(key), _SECONDS: np.array(seconds)}
        np.savez_compressed(buffer, **content)
        with explained_disk_errors(CrossRayError, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, buffer.getvalue())
        return arrays

    def finished(self, name: str, made_from: Mapping[str, Any]) -> FinishedCell | None:
        """A cell that is there, for those who only want to know; arguments as of :meth:`get`."""
        return _read(*self._place(name, made_from))

    def _place(self, name: str, made_from: Mapping[str, Any]) -> tuple[Path, str]:
        key = sha256_of_json(dict(made_from))
        return self.folder / f"{name}-{key[:12]}.npz", key


@dataclass(frozen=True)
class FinishedCell:
    """What a cell holds, and how long it took to make (``None``: it is older than these times)."""

    arrays: Arrays
    seconds: float | None


def _read(path: Path, key: str) -> FinishedCell | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            if _KEY not in file or str(file[_KEY]) != key:
                return None
            seconds = float(file[_SECONDS]) if _SECONDS in file else None
            return FinishedCell({name: file[name] for name in file.files if name not in (_KEY, _SECONDS)}, seconds)
    except DAMAGED_ARCHIVE:
        # Damaged by something else than us: as good as absent, the cell is made again.
        return None


def flatten(named: Mapping[str, Arrays]) -> Arrays:
    """Several sets of arrays as one cell; :func:`unflatten` is the way back."""
    return {f"{name}|{key}": array for name, arrays in named.items() for key, array in arrays.items()}


def unflatten(cell: Arrays) -> dict[str, Arrays]:
    """The sets of arrays of a cell, in the order they were written."""
    named: dict[str, Arrays] = {}
    for joined, array in cell.items():
        name, _, key = joined.partition("|")
        named.setdefault(name, {})[key] = array
    return named
