"""The films of one task: rows of a store by side, in the fractions that the protocol trains and validates on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.benchx_lists import TRAIN_LIST, benchx_split
from crossray.data.lovt_lists import FILE_NAMES, lovt_split
from crossray.data.split_files import check_patients, read_split
from crossray.data.splits import Fold, SplitList, nested_fractions
from crossray.data.store import Store
from crossray.errors import ConfigError, DataError
from crossray.evaluation.localized.default_split import default_split
from crossray.evaluation.localized.protocol import LocalizedProtocol

Rows = NDArray[np.int64]

_FRACTION_SEED = 0
_FRACTIONS = (0.1, 0.01)

#: Folders of LoVT's ``datasets/`` by our name of the source.
LOVT_FOLDERS = {
    "rsna_pneumonia": "RSNA-Pneunomia-Detection",
    "covid_rural": "Opacity-Segmentation-COVID/opacity_segmentation_covid_chest_X_ray-master/covid_rural_annot",
    "siim_acr": "siim-acr-pneumothorax-segmentation",
    "object_cxr": "object-CXR",
    "nih_cxr14": "NIH_CXR_pathology_detection",
}

#: Folders of BenchX's ``preprocess/datasets/`` by our name of the source.
BENCHX_FOLDERS = {"nih_cxr14": "NIH_Chest_Xray", "vindr_cxr": "VinDr_CXR", "rsna_pneumonia": "RSNA", "siim_acr": "SIIM"}


@dataclass(frozen=True)
class TaskFilms:
    """Film rows of a store; a study stands for its first frontal film.

    Attributes:
        store: where the films are.
        split: the list as it is used: one fold, fractions taken.
        train, validation, test: rows in the order of the list.
        whole_train: rows of the whole training side, for mean and std.
        absent: how many studies of the list the store does not hold, or without a frontal film.
    """

    store: Store
    split: SplitList
    train: Rows
    validation: Rows
    test: Rows
    whole_train: Rows
    absent: int

    def patients(self, rows: Rows) -> list[str | None]:
        """Patient of each film."""
        return [self.store.patient_ids[self.store.film(int(row)).study_index] for row in rows]

    def with_train(self, rows: Rows) -> TaskFilms:
        """The same with other training films."""
        return replace(self, train=rows)


def task_films(
    protocol: LocalizedProtocol, store: Store, where: Path | None = None, fold: str | None = None
) -> TaskFilms:
    """Look up a task's films.

    Args:
        protocol: fractions, and the split that is made where no list is given.
        store: a store of its source.
        where: a split list, LoVT's or BenchX's lists of one data set, or a folder of any (see :func:`find_list`).
        fold: of a list with several.

    Raises:
        DataError: the list cannot be used, or a side has no film in the store.
        ConfigError: films are smaller than the protocol's.
    """
    if store.prepared_size < protocol.size:
        raise ConfigError(
            f"films of the store are {store.prepared_size} pixels large, protocol '{protocol.id}' needs "
            f"{protocol.size}.",
            field="--data",
            remedy=f"Prepare the store again with --size {protocol.size}.",
        )
    whole, used = _folds(protocol, store, where, fold)
    if not protocol.legacy.shared_patients or protocol.preset == "clean":
        _refuse_shared_patients(used, store, protocol)
    absent: list[str] = []
    fold_used = used.folds[0]
    return TaskFilms(
        store,
        used,
        train=_rows(store, fold_used.train, "train", absent),
        validation=_rows(store, fold_used.validation, "validation", absent),
        test=_rows(store, fold_used.test, "test", absent),
        whole_train=_rows(store, whole.train, "train", []),
        absent=len(absent),
    )


def find_list(where: Path, source: str) -> Path:
    """The list of a source: ``where`` itself, or in it ``SOURCE.json``, ``SOURCE.csv`` or a folder of a release."""
    if not where.is_dir() or any((where / name).is_file() for name in (FILE_NAMES[0], TRAIN_LIST)):
        return where
    released = (folders.get(source, source) for folders in (LOVT_FOLDERS, BENCHX_FOLDERS))
    names = (f"{source}.json", f"{source}.csv", source, *released)
    found = [where / name for name in names if (where / name).exists()]
    if not found:
        raise DataError(f"holds no split list of {source}.", file=where, remedy=f"Name it {source}.json.")
    return found[0]


def _folds(protocol: LocalizedProtocol, store: Store, where: Path | None, fold: str | None) -> tuple[Fold, SplitList]:
    """The whole fold, and the list of it in the protocol's fractions."""
    path = where if where is None else find_list(where, protocol.source)
    if path is not None and (path / TRAIN_LIST).is_file():
        # Fractions have lists of their own; BenchX always validates on all of the validation side.
        return benchx_split(path.name, path).folds[0], benchx_split(path.name, path, protocol.train_fraction)
    if path is not None and path.is_dir():
        # LoVT's own fractions are the first rows of its lists.
        shares = {"train_fraction": protocol.train_fraction, "validation_fraction": protocol.validation_fraction}
        return lovt_split(path.name, path).folds[0], lovt_split(path.name, path, **shares)
    split = default_split(protocol, store) if path is None else read_split(path)
    whole = split.fold(fold) if fold is not None else split.folds[0]
    train = _fraction(store, whole.train, protocol.train_fraction)
    validation = _fraction(store, whole.validation, protocol.validation_fraction)
    used = Fold(whole.name, train, validation, whole.test)
    return whole, SplitList(split.protocol, (used,), split.notes)


def _fraction(store: Store, ids: Sequence[str], fraction: float) -> tuple[str, ...]:
    """Part of a side, patients whole; 1 % is inside 10 %."""
    held = [study_id for study_id in ids if study_id in store]
    if fraction == 1 or not held:
        return tuple(ids)
    rows = [store.index_of(study_id) for study_id in held]
    steps = sorted({fraction, *(step for step in _FRACTIONS if step > fraction)})
    patients = [store.patient_ids[row] for row in rows]
    labels = np.nan_to_num(store.labels[rows], nan=0.0)
    return nested_fractions(held, steps, _FRACTION_SEED, patient_ids=patients, labels=labels)[fraction]


def _rows(store: Store, ids: Sequence[str], side: str, absent: list[str]) -> Rows:
    rows: list[int] = []
    for study_id in ids:
        first = store.films_of(store.index_of(study_id))[:1] if study_id in store else []
        rows += first
        if not first:
            absent.append(study_id)
    if not rows:
        raise DataError(
            f"the {side} side has no film in the store.", file=store.path, remedy="Was the list made for another set?"
        )
    return np.array(rows, dtype=np.int64)


def _refuse_shared_patients(split: SplitList, store: Store, protocol: LocalizedProtocol) -> None:
    try:
        check_patients(split.folds[0], dict(zip(store.study_ids, store.patient_ids, strict=True)))
    except DataError as error:
        remedy = "Move all studies of a patient to one side."
        if protocol.legacy.shared_patients:
            remedy = "--preset legacy measures on the list as it was published; without --split one is made by patient."
        raise DataError(error.problem, file=store.path, remedy=remedy) from error
