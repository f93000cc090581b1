"""Which metrics are compared: patterns over task, metric and target, so that a new metric needs no change here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from crossray.errors import ConfigError
from crossray.evaluation.calibration import BRIER, ECE
from crossray.evaluation.comparison.entries import Entry
from crossray.evaluation.grounding import OFF_FILM
from crossray.evaluation.tables import TASK_TITLES, is_share

HEADLINES = (
    "retrieval/R@*/film → report",
    "retrieval/median rank/film → report",
    "retrieval/R@*/report → film",
    "retrieval/median rank/report → film",
    "class_retrieval/P@*/film → reports of its class",
    "class_retrieval/P@*/report → films of its class",
    "*/AUROC/mean of all*",
    "grounding/pointing game/all phrases",
    "grounding/CNR*/all phrases",
    "grounding/pointing game/phrases that no blind map hits",
)
"""The columns unless others are asked for."""


@dataclass(frozen=True, order=True)
class Column:
    """One metric: what a number of each entry is compared by."""

    task: str
    metric: str
    target: str

    @property
    def id(self) -> str:
        """``task/metric/target``, as patterns match it."""
        return f"{self.task}/{self.metric}/{self.target}"

    @property
    def unit(self) -> str:
        """The metric with its unit."""
        return f"{self.metric}, %" if is_share(self.metric) else self.metric

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller number is the better one."""
        return self.metric in ("median rank", OFF_FILM, ECE, BRIER)


@dataclass(frozen=True)
class Group:
    """Columns that share a table: one target, one task or several. ``heads`` are their titles."""

    title: str
    columns: tuple[Column, ...]
    heads: tuple[str, ...]


def choose_columns(entries: Sequence[Entry], patterns: Sequence[str] = ()) -> list[Column]:
    """The columns that patterns name, in the patterns' order; those of ``HEADLINES`` that are there, without any.

    A pattern is ``task/metric/target`` with ``*`` and ``?``; what is left out at its end is ``*``. Case plays no part,
    and ``->`` stands for an arrow.

    Raises:
        ConfigError: a pattern of the caller names nothing; the message lists what there is.
    """
    there = _columns(entries)
    chosen: dict[Column, None] = {}
    for pattern in patterns or HEADLINES:
        found = [column for column in there if _matches(column, pattern)]
        if patterns and not found:
            raise ConfigError(
                f"no metric is called '{pattern}'.",
                field="--metrics",
                remedy=f"There are {'; '.join(column.id for column in there)}.",
            )
        chosen |= dict.fromkeys(found)
    if not chosen:
        raise ConfigError("these results hold none of the usual metrics.", remedy="Choose some with --metrics.")
    return list(chosen)


def groups(columns: Sequence[Column]) -> list[Group]:
    """Columns by target: those of several tasks are called by their tasks."""
    by_target: dict[str, list[Column]] = {}
    for column in columns:
        by_target.setdefault(column.target, []).append(column)
    found = []
    for target, own in by_target.items():
        tasks = list(dict.fromkeys(_title(column) for column in own))
        several = len(tasks) > 1
        heads = tuple(f"{_title(column)}: {column.unit}" if several else column.unit for column in own)
        found.append(Group(target if several else f"{tasks[0]}: {target}", tuple(own), heads))
    return found


def _columns(entries: Sequence[Entry]) -> list[Column]:
    rows = (row for entry in entries for read in entry.by_seed.values() for row in read.results.select(kind="model"))
    order = {task: place for place, task in enumerate(TASK_TITLES)}
    found = dict.fromkeys(Column(row.task, row.metric, row.target) for row in rows)
    return sorted(found, key=lambda column: order.get(column.task, len(order)))


def _matches(column: Column, pattern: str) -> bool:
    wanted = [*pattern.replace("->", "→").lower().split("/", 2), "*", "*"][:3]
    own = (column.task, column.metric, column.target)
    return all(fnmatchcase(part.lower(), want.strip()) for part, want in zip(own, wanted, strict=True))


def _title(column: Column) -> str:
    return TASK_TITLES.get(column.task, column.task)
