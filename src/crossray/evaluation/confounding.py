"""How far a view, sex or age could stand in for a finding: what features tell of it, and what it tells of each label.

Where an attribute can be read from the features and alone ranks a label, an AUROC over everybody may be its doing, in
either direction: it lifts the score where the model leans the same way, and hides it where it leans the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from crossray.data.store import Store
from crossray.errors import CrossRayError
from crossray.evaluation.cohort import Part
from crossray.evaluation.groups import LEAST, Group, GroupedBy, scores_inside
from crossray.evaluation.metrics import FloatArray, auroc
from crossray.evaluation.probe import FeatureSplit, ProbeConfig, linear_probe
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.row_files import finite, rows_as_csv
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.summary import FoldScores, sample_classification
from crossray.evaluation.tables import with_interval
from crossray.files import explained_disk_errors, write_whole
from crossray.settings import Settings

FOLDS = 5
"""Patient-disjoint parts: one is asked, the next chooses C, the others are learned from."""

ALONE = "membership alone"


class ConfoundingRow(Settings):
    """An AUROC with its interval; ``group`` is told from the other groups of its attribute.

    Without a ``label``: of a probe of ``model``'s features for the group, ``positives`` being those inside. With one:
    of a score that knows only who is inside, for that label; below ½ the label is rarer inside.
    """

    by: GroupedBy
    group: str
    label: str | None
    model: str
    n: int
    positives: int
    value: float | None
    low: float | None
    high: float | None


def confounding_rows(
    features: Mapping[Evaluated, NDArray[np.float32]],
    store: Store,
    tested: Part,
    groups: Sequence[Group],
    protocol: Protocol,
    config: ProbeConfig,
) -> list[ConfoundingRow]:
    """Both readings of the tested studies, for every label of their store, also those that the protocol leaves out."""
    labels = store.labels[tested.studies].astype(np.float64)
    read = readable_rows(features, groups, tested.patient_ids, protocol, config)
    return [*read, *alone_rows(labels, store.label_names, groups, tested.patient_ids, protocol)]


def contrasts(groups: Sequence[Group]) -> Iterator[tuple[Group, NDArray[np.int64]]]:
    """Each group, and the rows of all that tell its attribute; of two groups the first speaks for both."""
    for by in dict.fromkeys(group.by for group in groups):
        own = [group for group in groups if group.by == by]
        told = np.sort(np.concatenate([group.rows for group in own]))
        for group in own[:1] if len(own) == 2 else own:
            if min(len(group.rows), len(told) - len(group.rows)) >= LEAST:
                yield group, told


def readable_rows(
    features: Mapping[Evaluated, NDArray[np.float32]],
    groups: Sequence[Group],
    patients: Sequence[str | None],
    protocol: Protocol,
    config: ProbeConfig,
) -> list[ConfoundingRow]:
    """How well a probe of each model's ``features [n, C]`` tells each group, on patients that it did not learn from."""
    rows = []
    for group, told in contrasts(groups):
        inside = np.isin(told, group.rows).astype(np.float64)[:, None]
        own = [patients[row] for row in told]
        for who, all_features in features.items():
            folds = _out_of_fold(all_features[told], inside, own, config)
            rows += _rows(group, folds, [None], who.model, protocol)
    return rows


def alone_rows(
    labels: FloatArray,
    names: Sequence[str],
    groups: Sequence[Group],
    patients: Sequence[str | None],
    protocol: Protocol,
) -> list[ConfoundingRow]:
    """What being in each group alone is worth for each of the ``labels [n, K]``; NaN unknown."""
    rows = []
    for group, told in contrasts(groups):
        inside = np.zeros(len(labels))
        inside[group.rows] = 1.0
        everybody = FoldScores("alone", tuple(patients), np.repeat(inside[:, None], labels.shape[1], axis=1), labels)
        rows += _rows(group, [scores_inside(everybody, Group(group.by, "told", told))], names, ALONE, protocol)
    return rows


def _out_of_fold(
    features: NDArray[np.float32], inside: FloatArray, patients: Sequence[str | None], config: ProbeConfig
) -> list[FoldScores]:
    who = [f"study {row}" if patient is None else f"patient {patient}" for row, patient in enumerate(patients)]
    parts = [test for _, test in GroupKFold(min(FOLDS, len(set(who)))).split(features, groups=who)]
    folds = []
    for number, test in enumerate(parts):
        validation = parts[(number + 1) % len(parts)]
        train = np.setdiff1d(np.arange(len(who)), np.concatenate([test, validation]))
        learned, chosen = (FeatureSplit(features[rows], inside[rows]) for rows in (train, validation))
        scores = linear_probe(learned, chosen, features[test], config).test_scores
        folds.append(FoldScores(f"part {number}", tuple(patients[row] for row in test), scores, inside[test]))
    return folds


def _rows(
    group: Group, folds: Sequence[FoldScores], names: Sequence[str | None], model: str, protocol: Protocol
) -> list[ConfoundingRow]:
    sampled = sample_classification(auroc, folds, protocol)
    labels = np.concatenate([fold.labels for fold in folds])
    rows = []
    for column, label in enumerate(names):
        interval, known = sampled.interval(column, protocol.level), ~np.isnan(labels[:, column])
        rows.append(
            ConfoundingRow(
                by=group.by,
                group=group.name,
                label=label,
                model=model,
                n=int(known.sum()),
                positives=int((labels[known, column] > 0.5).sum()),
                value=finite(interval.estimate),
                low=finite(interval.low),
                high=finite(interval.high),
            )
        )
    return rows


def write_confounding(rows: Sequence[ConfoundingRow], folder: Path) -> None:
    """Write ``confounding.csv`` and ``confounding.md``."""
    with explained_disk_errors(CrossRayError, folder):
        write_whole(folder / "confounding.csv", rows_as_csv(rows, ConfoundingRow))
        write_whole(folder / "confounding.md", confounding_markdown(rows))


def confounding_markdown(rows: Sequence[ConfoundingRow]) -> str:
    """A table of what features tell of the groups, and one of what the groups alone tell of the labels."""
    read = [row for row in rows if row.label is None]
    models = list(dict.fromkeys(row.model for row in read))
    parts = ["# Confounding: what could stand in for a finding\n", "Research only, not for diagnosis.\n"]
    parts += ["## Told from the features by a linear probe: area under the ROC curve\n"]
    parts += [f"Patients in {FOLDS} parts, none is learned from and asked at once.\n"]
    parts += [_head(["group", *models])]
    for by, group in dict.fromkeys((row.by, row.group) for row in read):
        own = {row.model: row for row in read if (row.by, row.group) == (by, group)}
        first = next(iter(own.values()))
        cells = [_cell(own[model]) for model in models]
        parts.append(f"| {by} {group} ({first.positives} of {first.n}) | {' | '.join(cells)} |")
    alone = [row for row in rows if row.label is not None and row.value is not None]
    titles = list(dict.fromkeys((row.by, row.group) for row in alone))
    if alone:
        parts += ["\n## What membership alone tells of each label: area under the ROC curve\n"]
        parts += ["Below 0.5 the label is rarer in the group than in the others.\n"]
        parts += [_head(["label", *(f"{by} {group}" for by, group in titles)])]
    for label in dict.fromkeys(row.label for row in alone):
        of_groups = {(row.by, row.group): row for row in alone if row.label == label}
        cells = [_cell(of_groups.get(title)) for title in titles]
        parts.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(parts) + "\n"


def _head(columns: Sequence[str]) -> str:
    return f"| {' | '.join(columns)} |\n| --- |{' ---: |' * (len(columns) - 1)}"


def _cell(row: ConfoundingRow | None) -> str:
    return "–" if row is None else with_interval(row.value, row.low, row.high)
