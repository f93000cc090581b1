"""The evaluations of a comparison: read, grouped into entries (one result a seed), and refused if they do not align."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossray.errors import ConfigError, DataError
from crossray.evaluation.draws import read_draws
from crossray.evaluation.results import Provenance, Results, Row, read_results

_SEED_FOLDER = re.compile(r"seed[-_]?\d+")

# What two evaluations must share for their numbers to stand in one column, and for their draws to be pairs.
_SHARED = (
    "protocol",
    "preset",
    "split_protocol",
    "split_hash",
    "store_hash",
    "folds",
    "labels",
    "common_labels",
    "draws",
    "level",
)

# Settings that may differ: which tasks were asked for, how they were carried out, and those of mere variants, which are
# not compared.
_FREE_SETTINGS = ("tasks", "batch_size", "joimternet_head")


@dataclass(frozen=True)
class Source:
    """A results folder and the name of the entry that it belongs to."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Evaluated:
    """One results folder: its table, and the draws of its rows by their index."""

    folder: Path
    results: Results
    draws: Mapping[int, NDArray[np.float32]]

    @property
    def seed(self) -> int:
        """The seed of its training."""
        return self.results.provenance.seeds.get("training", 0)

    def find(self, kind: str, task: str, metric: str, target: str, model: str | None = None) -> int | None:
        """Index of the row of a kind that holds a metric, if there is one."""
        for index, row in enumerate(self.results.rows):
            own = (row.kind, row.task, row.metric, row.target)
            if own == (kind, task, metric, target) and model in (None, row.model):
                return index
        return None

    def row(self, index: int) -> Row:
        """A row of its table."""
        return self.results.rows[index]


@dataclass(frozen=True)
class Entry:
    """A line of the comparison: one method or recipe, trained with one or more seeds."""

    name: str
    by_seed: Mapping[int, Evaluated]


def source_of(written: str) -> Source:
    """``NAME=FOLDER`` or ``FOLDER``; the name is then the folder's own, or its parent's if it is called ``seed0``."""
    name, separator, place = written.partition("=")
    if separator:
        return Source(name.strip(), Path(place))
    folder = Path(written)
    own = folder.resolve()
    return Source(own.parent.name if _SEED_FOLDER.fullmatch(own.name) else own.name, folder)


def read_entries(sources: Sequence[Source]) -> list[Entry]:
    """Entries in the order in which they are first named; several sources of one name are its seeds.

    Raises:
        DataError: a folder holds no results or no draws.
        ConfigError: two folders of one entry have one seed, or evaluations differ in what they must share.
    """
    grouped: dict[str, dict[int, Evaluated]] = {}
    for source in sources:
        read = Evaluated(source.folder, read_results(source.folder), read_draws(source.folder))
        if not read.draws:
            raise DataError("holds no draws.", file=source.folder)
        of_entry = grouped.setdefault(source.name, {})
        if read.seed in of_entry:
            raise ConfigError(
                f"entry '{source.name}' has seed {read.seed} twice: {of_entry[read.seed].folder} and {source.folder}.",
                remedy="Give each entry a name of its own: crossray compare ONE=FOLDER OTHER=FOLDER.",
            )
        of_entry[read.seed] = read
    if not grouped:
        raise ConfigError("there is nothing to compare.", remedy="Name results folders, or the folder of a grid.")
    entries = [Entry(name, dict(sorted(by_seed.items()))) for name, by_seed in grouped.items()]
    _check_aligned(entries)
    return entries


def provenance_of(entries: Sequence[Entry]) -> Provenance:
    """What all evaluations share stands in the first one's provenance."""
    return next(iter(entries[0].by_seed.values())).results.provenance


def _check_aligned(entries: Sequence[Entry]) -> None:
    everyone = [read for entry in entries for read in entry.by_seed.values()]
    first = everyone[0]
    for other in everyone[1:]:
        different = _differences(first.results.provenance, other.results.provenance)
        if different:
            raise ConfigError(
                f"{first.folder} and {other.folder} cannot be compared: {'; '.join(different)}.",
                remedy="Evaluate both on the same store and split, with the same settings.",
            )
    for entry in entries:
        models = {row.model for read in entry.by_seed.values() for row in read.results.select(kind="model")}
        if len(models) > 1:
            raise ConfigError(f"entry '{entry.name}' mixes {' and '.join(sorted(models))}.", remedy="Name them apart.")


def _differences(one: Provenance, other: Provenance) -> list[str]:
    found = [
        f"{name.replace('_', ' ')} ({_shown(getattr(one, name))} and {_shown(getattr(other, name))})"
        for name in _SHARED
        if getattr(one, name) != getattr(other, name)
    ]
    lists = {own for own in (of.choices.get("class retrieval") for of in (one, other)) if own}
    if len(lists) > 1:
        found.append(f"the list of retrieval by class ({' and '.join(sorted(lists))})")
    if one.seeds.get("bootstrap") != other.seeds.get("bootstrap"):
        found.append("seed of the bootstrap")
    if one.tested != other.tested:
        found.append(f"the tested studies ({one.studies} and {other.studies})")
    before, now = _leaves(one.settings), _leaves(other.settings)
    found += [
        f"{key} ({_shown(before.get(key))} and {_shown(now.get(key))})"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key.split(".")[0] not in _FREE_SETTINGS
    ]
    return found


def _shown(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text[:16] if re.fullmatch(r"[0-9a-f]{64}", text) else text


def _leaves(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
