"""The studies of one fold as evaluation sees them: a film, a text, labels and a patient for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.data.pairs import text_groups
from crossray.data.splits import Fold
from crossray.data.store import Store
from crossray.data.study import View
from crossray.data.text import SelectedText, TextConfig, select_text
from crossray.errors import ConfigError, DataError
from crossray.evaluation.finetune import FilmPart
from crossray.evaluation.metrics import FloatArray
from crossray.files import sha256_of_json

_NIH_NAMES = {"Pleural Effusion": "Effusion"}
"""CheXpert's name of a class that NIH ChestX-ray14 has under another one."""


@dataclass(frozen=True)
class Part:
    """n studies of one side of a fold.

    Attributes:
        study_ids, patient_ids: one a study; a patient is ``None`` where unknown.
        studies: ``[n]`` rows in the store.
        films: ``[n]`` film rows in the store, the first of the wanted views.
        texts: what the model reads of each report.
        text_groups: ``[n]`` equal where the normalised text is identical (within this part).
        labels: ``[n, K]`` of the protocol's labels, NaN unknown.
    """

    study_ids: tuple[str, ...]
    patient_ids: tuple[str | None, ...]
    studies: NDArray[np.int64]
    films: NDArray[np.int64]
    texts: tuple[SelectedText, ...]
    text_groups: NDArray[np.int64]
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.study_ids)

    def rows(self, rows: NDArray[np.int64]) -> Part:
        """The studies of some rows ``[m]``; their text groups keep their numbers."""
        return Part(
            study_ids=tuple(self.study_ids[row] for row in rows),
            patient_ids=tuple(self.patient_ids[row] for row in rows),
            studies=self.studies[rows],
            films=self.films[rows],
            texts=tuple(self.texts[row] for row in rows),
            text_groups=self.text_groups[rows],
            labels=self.labels[rows],
        )

    @property
    def film_part(self) -> FilmPart:
        """Films and labels, as fine-tuning takes them."""
        return FilmPart(self.films, self.labels)


@dataclass(frozen=True)
class Cohort:
    """One fold's three sides, and the studies of it that have no film or no text."""

    fold: str
    train: Part
    validation: Part
    test: Part
    left_out: tuple[str, ...]


def build_cohort(store: Store, fold: Fold, labels: Sequence[str], views: Sequence[View], text: TextConfig) -> Cohort:
    """Look up a fold's studies; one without a film of the wanted views or without text is left out and listed."""
    left_out: list[str] = []
    train, validation, test = (
        part_of(store, ids, labels, views, text, left_out) for ids in (fold.train, fold.validation, fold.test)
    )
    for name, part in (("training", train), ("validation", validation), ("test", test)):
        if len(part) == 0:
            raise DataError(f"fold '{fold.name}' has no {name} study with a film and a text.")
    return Cohort(fold.name, train, validation, test, tuple(left_out))


def part_of(
    store: Store,
    ids: Sequence[str],
    labels: Sequence[str],
    views: Sequence[View],
    text: TextConfig,
    left_out: list[str],
    *,
    needs_text: bool = True,
    shift: int = 0,
) -> Part:
    """The studies of some ids; those without a film (or without text, if it is needed) are added to ``left_out``.

    ``shift`` is added to the film rows, where several stores' films are numbered as one.
    """
    studies, films, texts = [], [], []
    for study_id in ids:
        index = store.index_of(study_id)
        rows, selected = store.films_of(index, views), select_text(store.report(index), text)
        if not rows or (needs_text and not selected.text):
            left_out.append(study_id)
            continue
        studies.append(index)
        films.append(rows[0] + shift)
        texts.append(selected)
    columns = [store.label_names.index(label) for label in labels]
    return Part(
        study_ids=tuple(store.study_ids[i] for i in studies),
        patient_ids=tuple(store.patient_ids[i] for i in studies),
        studies=np.array(studies, dtype=np.int64),
        films=np.array(films, dtype=np.int64),
        texts=tuple(texts),
        text_groups=text_groups([selected.text for selected in texts]),
        labels=store.labels[np.ix_(studies, columns)].astype(np.float64).reshape(len(studies), len(columns)),
    )


def names_in(store: Store, labels: Sequence[str]) -> list[str]:
    """What a store calls the labels.

    Raises:
        ConfigError: it does not hold one.
    """
    names = [label if label in store.label_names else _NIH_NAMES.get(label, label) for label in labels]
    missing = [label for label, name in zip(labels, names, strict=True) if name not in store.label_names]
    if missing:
        raise ConfigError(
            f"the store of {store.manifest.inputs.source} has no labels {', '.join(missing)}.",
            field="labels",
            remedy=f"It holds {', '.join(store.label_names) or 'none'}.",
        )
    return names


def labels_in_all(stores: Sequence[Store]) -> list[str]:
    """The labels that every one of the stores holds, by the names that may be asked for."""
    asked = dict.fromkeys(name for store in stores for name in (*store.label_names, *_NIH_NAMES))
    return [
        label
        for label in asked
        if all({label, _NIH_NAMES.get(label, label)} & set(store.label_names) for store in stores)
    ]


def tested_hash(tests: Mapping[str, Part]) -> str:
    """sha256 over what the bootstrap draws from: the tested studies of each fold in order, and their patients."""
    return sha256_of_json(
        {
            fold: [list(pair) for pair in zip(part.study_ids, part.patient_ids, strict=True)]
            for fold, part in tests.items()
        }
    )
