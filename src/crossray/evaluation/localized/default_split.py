"""The split of a localized task where no list is given: seeded, patients whole, labels spread evenly.

The lists that LoVT released fix its splits (their seed was never set); these stand in for them. Spec:
``localized_evaluation``, section 5; ``downstream_protocols``, section 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossray.data.splits import Fold, SplitList, make_splits, natural_key
from crossray.data.store import Store
from crossray.errors import DataError
from crossray.evaluation.localized.protocol import LocalizedProtocol

Rows = NDArray[np.int64]

_SEED = 0
_NIH = "nih_cxr14"
_NO_FINDING = "No Finding"
_NO_FINDING_FILMS = 100
_LARGEST_VALIDATION = 5000


def default_split(protocol: LocalizedProtocol, store: Store) -> SplitList:
    """One fold named ``fixed`` with the protocol's shares, or its number of folds.

    Where masks or boxes of ChestX-ray14 are wanted, boxed films and 100 without finding take part, in one joint split
    by patient (defect 6 was two).

    Raises:
        DataError: the store is too small, or does not say what its publisher divided off.
    """
    is_boxed_task = protocol.source == _NIH and protocol.kind != "classification"
    studies = _boxed_and_healthy(store) if is_boxed_task else np.arange(len(store))
    if protocol.films == "annotated":
        studies = np.array([study for study in studies if _is_annotated(store, int(study), protocol)], dtype=np.int64)
        if not len(studies):
            raise DataError(f"no film is annotated with {', '.join(protocol.targets)}.", file=store.path)
    if protocol.shares[2] == 0:
        return _with_publishers_test(protocol, store, studies)
    test, validation = protocol.shares[2], protocol.shares[1] / (protocol.shares[0] + protocol.shares[1])
    name = f"{protocol.source}-{'-'.join(f'{100 * share:g}' for share in protocol.shares)}"
    if protocol.films == "annotated":
        name = f"{name}-annotated"
    if protocol.folds > 1:
        return _split(store, studies, f"{name}-{protocol.folds}-folds", None, validation, protocol.folds)
    return _split(store, studies, name, test, validation)


def _is_annotated(store: Store, study: int, protocol: LocalizedProtocol) -> bool:
    """Whether somebody looked for a target: a mask of its name is there, or its label is known."""
    masks = {name for row in store.films_of(study) for name in store.film(row).mask_names}
    labels = [store.label_names.index(name) for name in protocol.targets if name in store.label_names]
    return bool(masks & set(protocol.targets)) or bool((~np.isnan(store.labels[study, labels])).any())


def _split(store: Store, studies: Rows, name: str, test: float | None, validation: float, folds: int = 1) -> SplitList:
    ids = [store.study_ids[index] for index in studies]
    return make_splits(
        ids,
        [store.patient_ids[index] for index in studies],
        [None] * len(ids),  # these sets have no reports, and equal texts of CheXpert tie nothing that is seen here
        np.nan_to_num(store.labels[studies], nan=0.0),
        seed=_SEED,
        folds=folds,
        test_fraction=test,
        validation_fraction=validation,
        protocol=name,
        notes="Made by crossray localized: by patient, stratified on the store's labels.",
    )


def _with_publishers_test(protocol: LocalizedProtocol, store: Store, studies: Rows) -> SplitList:
    """The publisher's ``validate``, or ``test``, as test side; its ``train`` divided into train and validation."""
    parts = np.array([store.attributes(int(index)).get("publisher_split", "") for index in studies])
    train, test = studies[parts == "train"], studies[parts == ("validate" if "validate" in parts else "test")]
    if not len(train) or not len(test):
        raise DataError(
            "does not say which studies the publisher divided off for validation or test.",
            file=store.path,
            remedy="Prepare the store again, or give a split list.",
        )
    share = min(protocol.shares[1], _LARGEST_VALIDATION / len(train))
    # What is called test here is set aside for validation: the split wants a test side, and there is one already.
    inner = _split(store, train, "inner", share, 0.0).folds[0]
    fold = Fold("fixed", inner.train, inner.test, tuple(store.study_ids[index] for index in test))
    return SplitList(f"{protocol.source}-publisher", (fold,), "Made by crossray localized: the publisher's test side.")


def _boxed_and_healthy(store: Store) -> Rows:
    """Studies with a box, and 100 of the publisher's test part without a finding."""
    boxed = [index for index in range(len(store)) if any(store.film(row).boxes for row in store.films_of(index))]
    column = store.label_names.index(_NO_FINDING)
    healthy = [
        index
        for index in np.flatnonzero(store.labels[:, column] == 1).tolist()
        if store.attributes(index).get("publisher_split") == "test"
    ]
    healthy.sort(key=lambda index: natural_key(store.study_ids[index]))
    rng = np.random.default_rng(_SEED)
    chosen = rng.permutation(len(healthy))[:_NO_FINDING_FILMS]
    return np.array(sorted({*boxed, *(healthy[place] for place in chosen)}), dtype=np.int64)
