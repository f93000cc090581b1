"""What a split is made from: one row a study with its patient, its text and its labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from crossray.data.splits import SIDES, Fold, Side, SplitList, Texts, make_splits
from crossray.data.store import Store
from crossray.data.study import Report, Study
from crossray.data.text import TextConfig, normalise_text, select_text
from crossray.errors import DataError


def text_key(report: Report) -> str:
    """The key under which two reports count as identical: normalised findings and impression as a model reads them.

    De-identification marks and list numbers are dropped first, so that no two sides hold a text that looks the same
    to the model. A report without these sections counts with its whole text.
    """
    return normalise_text(select_text(report, TextConfig()).text)


@dataclass(frozen=True)
class SplitTable:
    """Studies to be split; ``labels`` is ``[n, K]`` float32 in the order of ``label_names``."""

    study_ids: tuple[str, ...]
    patient_ids: tuple[str | None, ...]
    text_keys: tuple[str, ...]
    labels: NDArray[np.float32]
    label_names: tuple[str, ...]

    @classmethod
    def from_store(cls, store: Store, label_names: Sequence[str] | None = None) -> SplitTable:
        """Every study of a store, with the labels to stratify on (all of the store's by default).

        Raises:
            DataError: the store has no label of that name.
        """
        names = tuple(store.label_names if label_names is None else label_names)
        for name in names:
            if name not in store.label_names:
                known = ", ".join(store.label_names) or "none"
                raise DataError(f"the store has no label '{name}'.", file=store.path, remedy=f"Its labels: {known}.")
        columns = [store.label_names.index(name) for name in names]
        keys = tuple(text_key(store.report(index)) for index in range(len(store)))
        return cls(tuple(store.study_ids), tuple(store.patient_ids), keys, store.labels[:, columns], names)

    @classmethod
    def from_studies(cls, studies: Iterable[Study], label_names: Sequence[str]) -> SplitTable:
        """Studies as a source gives them: no store, no pixels needed."""
        listed = list(studies)
        labels = np.array([[s.labels.get(name, nan) for name in label_names] for s in listed], dtype=np.float32)
        return cls(
            tuple(study.study_id for study in listed),
            tuple(study.patient_id for study in listed),
            tuple(text_key(study.report) for study in listed),
            labels.reshape(len(listed), len(label_names)),
            tuple(label_names),
        )

    def without(self, study_ids: Iterable[str]) -> SplitTable:
        """The table without some studies, and without those that share a patient or a text with them."""
        left_out = set(study_ids)
        given = [row for row, study_id in enumerate(self.study_ids) if study_id in left_out]
        patients = {self.patient_ids[row] for row in given if self.patient_ids[row]}
        texts = {self.text_keys[row] for row in given if self.text_keys[row]}
        kept = [
            row
            for row, study_id in enumerate(self.study_ids)
            if study_id not in left_out and self.patient_ids[row] not in patients and self.text_keys[row] not in texts
        ]
        return self._rows(kept)

    def only(self, study_ids: Iterable[str]) -> SplitTable:
        """The table of some studies alone; ids that it does not have are passed over."""
        wanted = set(study_ids)
        return self._rows([row for row, study_id in enumerate(self.study_ids) if study_id in wanted])

    def positives(self, fold: Fold) -> dict[Side, list[int]]:
        """For each side of a fold, the number of positives of each label."""
        index = {study_id: row for row, study_id in enumerate(self.study_ids)}
        rows = {side: [index[study_id] for study_id in fold.side(side) if study_id in index] for side in SIDES}
        return {side: (self.labels[rows[side]] == 1).sum(axis=0).astype(int).tolist() for side in SIDES}

    def _rows(self, kept: Sequence[int]) -> SplitTable:
        return SplitTable(
            tuple(self.study_ids[row] for row in kept),
            tuple(self.patient_ids[row] for row in kept),
            tuple(self.text_keys[row] for row in kept),
            self.labels[kept],
            self.label_names,
        )


def split_table(
    table: SplitTable,
    *,
    folds: int = 5,
    test_fraction: float | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    texts: Texts = "together",
    protocol: str = "custom",
) -> SplitList:
    """Split a table's studies, see :func:`crossray.data.splits.make_splits`.

    Args:
        texts: ``apart`` lets identical texts fall on several sides: needed where a few stock reports tie most
            patients together; retrieval is then to be read by text groups.
    """
    keys = table.text_keys if texts == "together" else (None,) * len(table.study_ids)
    return make_splits(
        table.study_ids,
        table.patient_ids,
        keys,
        table.labels,
        folds=folds,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        seed=seed,
        protocol=protocol,
        notes=f"By patient, identical texts {texts}, stratified on {', '.join(table.label_names) or 'no label'}; "
        f"validation {validation_fraction:g} of each training side. Seed {seed}.",
    )
