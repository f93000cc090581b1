"""Lists of k classes with n studies each, such as CheXpert 5x200: every study shows one class and nothing else.

Spec: `downstream_protocols.md`, section 3.1. Published lists were drawn once, without a seed or without the seed being
told; these are drawn from the test side of a fold by (seed, class), so that no pretraining has seen their films and
adding a class leaves the others' studies as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossray.data.chexpert import COMPETITION_LABELS
from crossray.data.sources.chexpert_marks import UNCERTAIN
from crossray.data.splits import Fold, SplitList, natural_key
from crossray.data.store import Store
from crossray.data.study import View
from crossray.errors import ConfigError, DataError
from crossray.settings import Settings

NO_FINDING = "No Finding"
NO_CLASS = -1


class ClassListConfig(Settings):
    """Which classes, how many studies of each, and what else a study may show.

    Attributes:
        classes: in the order of the tables.
        per_class: studies of each.
        exclusive: a study of a class shows none of the other ``findings`` of the store (as published; No Finding is not
            asked), or none of the other ``classes``. Unknown counts as absent; a doubt that the store tells apart
            (CheXpert's -1) leaves the study out.
        seed: of the draw.
    """

    classes: tuple[str, ...] = Field(default=COMPETITION_LABELS, min_length=2)
    per_class: int = Field(default=200, ge=1)
    exclusive: Literal["findings", "classes"] = "findings"
    seed: int = 0

    @property
    def name(self) -> str:
        """``5x200``."""
        return f"{len(self.classes)}x{self.per_class}"


def classes_of(store: Store, studies: NDArray[np.int64], config: ClassListConfig) -> NDArray[np.int64]:
    """``[n]`` the one class that each study (a row of the store) shows, by its place; ``NO_CLASS`` for the others.

    Raises:
        ConfigError: the store has no label of a class.
    """
    missing = [name for name in config.classes if name not in store.label_names]
    if missing:
        raise ConfigError(
            f"the store of {store.manifest.inputs.source} has no labels {', '.join(missing)}.",
            field="classes",
            remedy=f"It holds {', '.join(store.label_names) or 'none'}.",
        )
    asked = [
        name
        for name in store.label_names
        if name in config.classes or (config.exclusive == "findings" and name != NO_FINDING)
    ]
    present = store.labels[studies][:, [store.label_names.index(name) for name in asked]] > 0.5
    doubtful = [bool(set(store.attributes(row).get(UNCERTAIN, "").split("|")) & set(asked)) for row in studies]
    alone = (present.sum(axis=1) == 1) & ~np.array(doubtful, dtype=bool)
    found = np.full(len(studies), NO_CLASS, dtype=np.int64)
    for place, name in enumerate(config.classes):
        found[alone & present[:, asked.index(name)]] = place
    return found


def class_list(
    store: Store,
    split: SplitList,
    config: ClassListConfig,
    *,
    folds: Sequence[str] = (),
    views: Sequence[View] = ("frontal",),
) -> SplitList:
    """For each fold of a split, k x n studies of its test side that have a film of the views and a report.

    Only the test sides are filled. The list does not depend on the order of the store.

    Args:
        store: with labels and reports.
        split: its test sides are drawn from.
        config: which classes and how many studies of each.
        folds: names of those that are wanted; all by default.
        views: of which a study needs a film.

    Raises:
        ConfigError: the store has no label of a class.
        DataError: a fold has too few studies of a class (the message says of which how many there are), or the split
            has no such fold.
    """
    wanted = [split.fold(name) for name in folds] or split.folds
    drawn = tuple(
        Fold(fold.name, train=(), validation=(), test=_drawn(store, split.protocol, fold, config, views))
        for fold in wanted
    )
    notes = (
        f"{config.per_class} test studies for each of {', '.join(config.classes)} that show none of the other "
        f"{config.exclusive}; seed {config.seed}, store {store.hash[:16]}, split {split.hash[:16]}"
    )
    return SplitList(f"{split.protocol}-{config.name}", drawn, notes)


def _drawn(store: Store, protocol: str, fold: Fold, config: ClassListConfig, views: Sequence[View]) -> tuple[str, ...]:
    ids = sorted((study_id for study_id in fold.test if study_id in store), key=natural_key)
    rows = np.array([store.index_of(study_id) for study_id in ids], dtype=np.int64)
    usable = np.array([bool(store.films_of(row, views) and store.report(row).text.strip()) for row in rows], dtype=bool)
    found = np.where(usable, classes_of(store, rows, config), NO_CLASS)
    of_class = [np.flatnonzero(found == place) for place in range(len(config.classes))]
    if any(len(own) < config.per_class for own in of_class):
        counts = ", ".join(f"{name} {len(own)}" for name, own in zip(config.classes, of_class, strict=True))
        raise DataError(
            f"the test side of fold '{fold.name}' of {protocol} has too few studies of one class alone: {counts}; "
            f"{config.per_class} of each are asked for.",
            remedy="Ask for fewer, for other classes, or for studies that show no other of the classes "
            "(exclusive: classes).",
        )
    drawn = [
        np.random.default_rng([config.seed, place]).choice(own, size=config.per_class, replace=False)
        for place, own in enumerate(of_class)
    ]
    return tuple(ids[row] for row in np.sort(np.concatenate(drawn)))
