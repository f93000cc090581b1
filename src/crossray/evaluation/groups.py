"""Scores inside groups of studies: by view, sex and age, and how far apart groups are.

An AUROC over everybody also rewards telling groups apart: where most AP films are of the sick, a score that only sees
that a film is AP looks like a diagnosis. Inside one group it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossray.data.store import Store
from crossray.errors import CrossRayError
from crossray.evaluation.metrics import auroc
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.row_files import finite, rows_as_csv
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.summary import FoldScores, Sampled, positives_and_known, sample_classification
from crossray.evaluation.tables import TASK_TITLES, with_interval
from crossray.files import explained_disk_errors, write_whole
from crossray.settings import Settings

GroupedBy = Literal["view", "sex", "age"]

LEAST = 5
"""Positives, and negatives, that a label needs inside a group; with fewer its AUROC there is left open."""

_MIDDLE_AGE, _OLD_AGE = 40, 65


def _age_band(written: str) -> str:
    years = float(written)
    if years < _MIDDLE_AGE:
        return f"below {_MIDDLE_AGE}"
    return f"{_MIDDLE_AGE} to {_OLD_AGE - 1}" if years < _OLD_AGE else f"{_OLD_AGE} and above"


_ATTRIBUTES: Mapping[GroupedBy, tuple[str, Callable[[str], str]]] = {
    "view": ("view_position", lambda written: written.upper()),
    "sex": ("sex", lambda written: written),
    "age": ("age", _age_band),
}


@dataclass(frozen=True)
class Group:
    """Some of the tested studies: ``rows`` among them, and what they have in common."""

    by: GroupedBy
    name: str
    rows: NDArray[np.int64]

    @property
    def title(self) -> str:
        """``sex F``, ``age below 40``."""
        return f"{self.by} {self.name}"


def groups_of(store: Store, studies: NDArray[np.int64], by: Sequence[GroupedBy]) -> list[Group]:
    """The groups of ``studies`` (rows of the store); one that does not tell an attribute is in none of its groups."""
    found = []
    told = [store.attributes(int(study)) for study in studies]
    for attribute in by:
        key, name_of = _ATTRIBUTES[attribute]
        names = np.array([name_of(own[key]) if own.get(key) else "" for own in told])
        found += [Group(attribute, str(name), np.flatnonzero(names == name)) for name in np.unique(names) if name]
    return found


class GroupRow(Settings):
    """AUROC of a label inside a group, or the difference between two groups of one attribute (``group`` is "AP − PA").

    ``n`` studies are known there, ``positives`` of them have it; a difference has neither.
    """

    task: str
    by: GroupedBy
    group: str
    label: str
    model: str
    n: int | None = None
    positives: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


def group_rows(
    task: str, predictions: Mapping[Evaluated, FoldScores], groups: Sequence[Group], protocol: Protocol
) -> list[GroupRow]:
    """AUROC of each label and model inside each group, and differences between the groups of one attribute.

    All patients are drawn at once: one who has studies in two groups (an AP and a PA film) is drawn for both, and the
    difference between groups has that in its interval. A label that has too few positives or negatives in a group has
    no value there.
    """
    rows: list[GroupRow] = []
    for who, scores in predictions.items():
        inside = {group.title: scores_inside(scores, group) for group in groups}
        sampled = {title: sample_classification(auroc, [own], protocol) for title, own in inside.items()}
        for group in groups:
            counts = positives_and_known([_known_inside(scores, group)])
            rows += _rows(task, who, group.by, group.name, sampled[group.title], protocol, counts)
        for one, other in combinations(groups, 2):
            if one.by == other.by:
                difference = sampled[one.title].minus(sampled[other.title])
                rows += _rows(task, who, one.by, f"{one.name} − {other.name}", difference, protocol)
    return rows


def write_groups(rows: Sequence[GroupRow], folder: Path) -> None:
    """Write ``groups.csv`` and ``groups.md``: one table for each task and attribute, labels and groups down."""
    with explained_disk_errors(CrossRayError, folder):
        write_whole(folder / "groups.csv", rows_as_csv(rows, GroupRow))
        write_whole(folder / "groups.md", groups_markdown(rows))


def groups_markdown(rows: Sequence[GroupRow]) -> str:
    """The tables of :func:`write_groups`; below each, which labels are left open in which groups."""
    known = [row for row in rows if row.value is not None]
    parts = ["# Inside groups: area under the ROC curve\n", "Research only, not for diagnosis.\n"]
    for task, by in dict.fromkeys((row.task, row.by) for row in rows):
        own = [row for row in known if (row.task, row.by) == (task, by)]
        models = list(dict.fromkeys(row.model for row in own))
        parts.append(f"## {TASK_TITLES[task]}, by {by}\n")
        if own:
            parts.append(f"| label | {by} | {' | '.join(models)} |\n| --- | --- |{' ---: |' * len(models)}")
        for label, group in dict.fromkeys((row.label, row.group) for row in own):
            of_models = {row.model: row for row in own if (row.label, row.group) == (label, group)}
            first = next(iter(of_models.values()))
            count = "" if first.n is None else f" (n⁺ {first.positives} of {first.n})"
            cells = [_cell(of_models.get(model)) for model in models]
            parts.append(f"| {label} | {group}{count} | {' | '.join(cells)} |")
        parts.append(_left_open([row for row in rows if (row.task, row.by) == (task, by)]))
    return "\n".join(parts)


def _left_open(rows: Sequence[GroupRow]) -> str:
    """A sentence on the labels that have too few of either class in a group; empty if there are none."""
    few = dict.fromkeys(
        f"{row.label} in {row.group} (n⁺ {row.positives} of {row.n})"
        for row in rows
        if row.n is not None and row.value is None
    )
    if not few:
        return ""
    return f"\nToo few to say, fewer than {LEAST} with or without the finding: {', '.join(few)}.\n"


def _cell(row: GroupRow | None) -> str:
    return "–" if row is None else with_interval(row.value, row.low, row.high, signed=row.n is None)


def _rows(
    task: str,
    who: Evaluated,
    by: GroupedBy,
    group: str,
    sampled: Sampled,
    protocol: Protocol,
    counts: Sequence[tuple[int, int]] | None = None,
) -> list[GroupRow]:
    rows = []
    for column, label in enumerate(protocol.labels):
        interval = sampled.interval(column, protocol.level)
        positives, known = (None, None) if counts is None else counts[column]
        rows.append(
            GroupRow(
                task=task,
                by=by,
                group=group,
                label=label,
                model=who.model,
                n=known,
                positives=positives,
                value=finite(interval.estimate),
                low=finite(interval.low),
                high=finite(interval.high),
            )
        )
    return rows


def scores_inside(scores: FoldScores, group: Group) -> FoldScores:
    """All studies, with labels of the group's alone; a label with too few of either class there is unknown."""
    own = _known_inside(scores, group)
    positives, negatives = (own.labels > 0.5).sum(axis=0), (own.labels <= 0.5).sum(axis=0)
    few = (positives < LEAST) | (negatives < LEAST)
    return replace(own, labels=np.where(few, np.nan, own.labels))


def _known_inside(scores: FoldScores, group: Group) -> FoldScores:
    labels = np.full_like(scores.labels, np.nan)
    labels[group.rows] = scores.labels[group.rows]
    return replace(scores, labels=labels)
