"""A grid as data: which recipes, seeds and folds, and how they are evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from crossray.errors import ConfigError
from crossray.evaluation.protocol import DEFAULT_TASKS, EvaluationConfig, Protocol
from crossray.settings import Settings, apply_overrides, build_settings, read_yaml
from crossray.training.recipe import Recipe, load_recipe

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class EntryConfig(Settings):
    """One line of a comparison.

    Attributes:
        of: another entry whose recipe and overrides come before its own.
        recipe: its recipe, instead of the grid's base; a relative path starts at the grid's file.
        overrides: ``section.key`` → value, laid over the recipe; a whole section may be replaced (``method``).
        tasks: the evaluation's tasks for this entry; the grid's by default.
    """

    of: str | None = None
    recipe: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    tasks: tuple[str, ...] | None = None


class GridEvaluation(Settings):
    """How every entry is evaluated: as ``crossray evaluate`` with ``--tasks``, ``--set`` and ``--checkpoint``."""

    tasks: tuple[str, ...] = DEFAULT_TASKS
    settings: dict[str, Any] = Field(default_factory=dict)
    checkpoint: Literal["best", "last"] = "best"
    report: bool = False


class GridConfig(Settings):
    """A whole grid.

    Attributes:
        like: another grid; keys that are not given here are taken from it, and its entries may be named here too.
        base: recipe of the entries that name none.
        overrides: laid over every entry's recipe, before the entry's own.
        seeds: seeds of training, in the order in which they are run: all entries with the first one come first.
        folds: folds of the split; each is a run of its own.
        entries: by name, in the order of the tables.
        evaluation: the same for all.
    """

    like: str | None = None
    base: str | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    folds: tuple[str, ...] = Field(default=("0",), min_length=1)
    entries: dict[str, EntryConfig] = Field(min_length=1)
    evaluation: GridEvaluation = GridEvaluation()

    @field_validator("folds", mode="before")
    @classmethod
    def _a_number_is_a_name_too(cls, value: object) -> object:
        return [str(fold) if isinstance(fold, int) else fold for fold in value] if isinstance(value, list) else value

    @field_validator("entries", mode="before")
    @classmethod
    def _an_entry_may_be_empty(cls, value: object) -> object:
        return {name: entry or {} for name, entry in value.items()} if isinstance(value, dict) else value

    @field_validator("entries")
    @classmethod
    def _names_are_folders(cls, value: dict[str, EntryConfig]) -> dict[str, EntryConfig]:
        wrong = [name for name in value if not _NAME.fullmatch(name)]
        if wrong:
            raise ValueError(f"'{wrong[0]}' cannot name a folder: letters, digits, dot, dash and underscore can")
        return value

    @field_validator("seeds", "folds")
    @classmethod
    def _each_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) < len(value):
            raise ValueError("one of them is there twice")
        return value


@dataclass(frozen=True)
class Grid:
    """A grid's configuration with its file, from where relative recipes are found, and the caller's own overrides."""

    config: GridConfig
    file: Path
    overrides: tuple[str, ...] = ()

    def recipe(self, entry: str, seed: int, fold: str) -> Recipe:
        """The resolved recipe of one run.

        Raises:
            ConfigError: naming the entry's recipe file and the key that is wrong.
        """
        own = self.config.entries[entry]
        place = own.recipe or self.config.base
        if place is None:
            raise ConfigError("has no recipe, and the grid has no base.", file=self.file, field=f"entries.{entry}")
        overrides = (
            *as_overrides(self.config.overrides),
            *as_overrides(own.overrides),
            *self.overrides,
            f"training.seed={seed}",
            f"data.fold={json.dumps(fold)}",
        )
        try:
            return load_recipe(self.file.parent / place, overrides)
        except ConfigError as error:
            raise ConfigError(f"entry '{entry}': {error}", file=self.file) from error

    def with_seeds(self, wanted: Sequence[str]) -> Grid:
        """The grid with some of its seeds, in its own order.

        Raises:
            ConfigError: one of them is not among the grid's.
        """
        known = {str(seed): seed for seed in self.config.seeds}
        for seed in wanted:
            if seed not in known:
                raise ConfigError(f"has no seed '{seed}'.", file=self.file, remedy=f"Its seeds: {', '.join(known)}.")
        seeds = tuple(number for name, number in known.items() if name in wanted)
        return replace(self, config=self.config.model_copy(update={"seeds": seeds}))

    def with_tasks(self, wanted: Sequence[str]) -> Grid:
        """The grid with some of its evaluation's tasks, in its own order.

        Raises:
            ConfigError: one of them is not among the grid's.
        """
        asked, known = {name.strip().replace("-", "_") for name in wanted}, self.config.evaluation.tasks
        unknown = sorted(asked - set(known))
        if unknown:
            raise ConfigError(
                f"does not evaluate '{unknown[0]}'.", file=self.file, remedy=f"Its tasks: {', '.join(known)}."
            )
        tasks = tuple(name for name in known if name in asked)
        entries = {
            name: entry
            if entry.tasks is None
            else entry.model_copy(update={"tasks": tuple(task for task in entry.tasks if task in asked)})
            for name, entry in self.config.entries.items()
        }
        evaluation = self.config.evaluation.model_copy(update={"tasks": tasks})
        return replace(self, config=self.config.model_copy(update={"evaluation": evaluation, "entries": entries}))

    def tasks(self, entry: str) -> tuple[str, ...]:
        """The evaluation's tasks of an entry."""
        own = self.config.entries[entry].tasks
        return self.config.evaluation.tasks if own is None else own


def load_grid(file: Path, overrides: Sequence[str] = ()) -> Grid:
    """A grid from its file, everything in it checked before anything is run.

    Args:
        file: YAML.
        overrides: ``section.key=value``, laid over the recipe of every entry.

    Raises:
        ConfigError: a key or value of the grid, of a recipe or of the evaluation is wrong.
    """
    grid = Grid(_read(file), file, tuple(overrides))
    for entry in grid.config.entries:
        for fold in grid.config.folds:
            grid.recipe(entry, grid.config.seeds[0], fold)
        _check_evaluation(grid, entry)
    return grid


def _read(file: Path) -> GridConfig:
    """A grid's configuration with what it takes from another one, and its entries with what they take from others."""
    content = read_yaml(file)
    like = content.get("like")
    if isinstance(like, str):
        other = _read(file.parent / like).model_dump()
        known = other["entries"]
        named = content.get("entries", known)
        if isinstance(named, dict):
            content["entries"] = {name: known.get(name) if entry is None else entry for name, entry in named.items()}
        content = other | content
    else:
        known = {}
    config = build_settings(GridConfig, content, file=file)
    entries: dict[str, EntryConfig] = {name: EntryConfig(**entry) for name, entry in known.items()} | config.entries
    resolved = {name: _resolved(name, entries, file) for name in config.entries}
    return config.model_copy(update={"entries": resolved})


def _resolved(name: str, entries: Mapping[str, EntryConfig], file: Path, seen: tuple[str, ...] = ()) -> EntryConfig:
    """An entry with what it takes from the one that it is of."""
    own = entries[name]
    if own.of is None:
        return own
    if own.of not in entries or own.of in (name, *seen):
        problem = "which is of itself" if own.of in entries else "which does not exist"
        raise ConfigError(f"is of '{own.of}', {problem}.", file=file, field=f"entries.{name}")
    other = _resolved(own.of, entries, file, (name, *seen))
    return EntryConfig(
        of=own.of,
        recipe=own.recipe or other.recipe,
        overrides={**other.overrides, **own.overrides},
        tasks=other.tasks if own.tasks is None else own.tasks,
    )


def as_overrides(changes: Mapping[str, Any]) -> list[str]:
    """``section.key=value`` for each change; JSON is YAML too."""
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]


def _check_evaluation(grid: Grid, entry: str) -> None:
    changes = apply_overrides({}, as_overrides(grid.config.evaluation.settings))
    protocol = changes.pop("protocol", {})
    build_settings(EvaluationConfig, {**changes, "tasks": grid.tasks(entry)}, file=grid.file)
    build_settings(Protocol, {"id": "any", **protocol}, file=grid.file)
