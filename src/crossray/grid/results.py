"""The results in the folder of a grid, as a comparison takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crossray.errors import DataError
from crossray.evaluation.comparison.entries import Source, source_of
from crossray.grid.config import Grid
from crossray.grid.run import ENTRIES_FILE, entries_of


def sources_of(written: Sequence[str], only: Sequence[str] | None = None) -> list[Source]:
    """What the words of ``crossray compare`` stand for: results folders, named or not, and folders of grids.

    Args:
        only: names of entries, in the order in which they are to stand; those without results are left out.

    Raises:
        DataError: a grid has no results yet.
    """
    found: list[Source] = []
    for word in written:
        folder = Path(word)
        found += _of_grid(folder) if (folder / ENTRIES_FILE).is_file() else [source_of(word)]
    if only is None:
        return found
    return [source for name in only for source in found if source.name == name]


def bases_of(grid: Grid) -> dict[str, str]:
    """Entry → the entry that it is of, for each that is of another one of the grid."""
    entries = grid.config.entries
    return {name: entry.of for name, entry in entries.items() if entry.of in entries}


def _of_grid(folder: Path) -> list[Source]:
    """Every result of a grid, in the order of its entries."""
    found = [
        Source(entry, results.parent)
        for entry in entries_of(folder)
        for results in sorted((folder / "results" / entry).glob("seed*/results.json"))
    ]
    if not found:
        raise DataError("holds no results yet.", file=folder, remedy="Run crossray grid to its end.")
    return found
