"""The split that a set's publisher made, as a split list: by the attribute ``publisher_split`` of a store's studies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossray.data.split_table import SplitTable, split_table
from crossray.data.splits import Fold, Side, SplitList, Texts
from crossray.data.store import Store
from crossray.errors import DataError

ATTRIBUTE, FOLD = "publisher_split", "published"
_SIDES: Mapping[str, Side] = {"train": "train", "validate": "validation", "test": "test"}
_MOST_NAMED = 20


@dataclass
class _Published:
    """Studies by side in store order, and how many are on none."""

    sides: dict[Side, list[str]] = field(default_factory=lambda: {side: [] for side in _SIDES.values()})
    outside: int = 0


def publisher_split(
    store: Store,
    table: SplitTable,
    *,
    set_aside: float = 0.0,
    seed: int = 0,
    texts: Texts = "together",
    protocol: str | None = None,
) -> SplitList:
    """The publisher's split of a store as one fold named ``published``; a study that is nowhere in it is on no side.

    Args:
        store: its studies have the attribute ``publisher_split``: train, validate or test.
        table: the store's studies with patients, texts and the labels to stratify on.
        set_aside: share of the publisher's training side that validates, where there is no validation side: by patient,
            stratified, as :func:`crossray.data.splits.make_splits` does it; 0 leaves the validation side empty.
        seed: breaks ties of what is set aside.
        texts: whether studies with identical text are set aside ``together``.
        protocol: the list's name; ``<source>-published`` by default.

    Raises:
        DataError: no study has the attribute, one has another value, patients are on two sides (each is named), or a
            share is to be set aside where there is a validation side, or no training side.
    """
    published = _read(store)
    _check_patients(store, published.sides)
    sides = published.sides
    notes = [f"As the publisher of {store.manifest.inputs.source} divided it (attribute {ATTRIBUTE})."]
    if published.outside:
        notes.append(f"{published.outside} studies are on no side: the publisher's lists do not have them.")
    if set_aside:
        sides = _with_validation(sides, store, table, set_aside, seed, texts)
        notes.append(f"Validation {set_aside:g} of the publisher's training side, by patient. Seed {seed}.")
    elif not sides["validation"]:
        notes.append("There is no validation side; --set-aside SHARE takes one from the training side.")
    fold = Fold(FOLD, *(tuple(sides[side]) for side in ("train", "validation", "test")))
    return SplitList(protocol or f"{store.manifest.inputs.source}-published", (fold,), " ".join(notes))


def _read(store: Store) -> _Published:
    published = _Published()
    for index, study_id in enumerate(store.study_ids):
        written = store.attributes(index).get(ATTRIBUTE)
        if written is None:
            published.outside += 1
        elif written in _SIDES:
            published.sides[_SIDES[written]].append(study_id)
        else:
            problem = f"'{written}' is none of {', '.join(_SIDES)}."
            raise DataError(problem, file=store.path, row=study_id, field=ATTRIBUTE)
    if published.outside == len(store):
        raise DataError(
            f"no study has the attribute {ATTRIBUTE}: its publisher did not divide the set, or the store is too old.",
            file=store.path,
            remedy="Leave --publisher out and make a split by patient, or prepare the store again.",
        )
    return published


def _check_patients(store: Store, sides: Mapping[Side, list[str]]) -> None:
    """Refuse patients on two sides, and name them: the publisher's list cannot be used as it is."""
    patient_of = dict(zip(store.study_ids, store.patient_ids, strict=True))
    sides_of: dict[str, list[Side]] = {}
    for side, study_ids in sides.items():
        for patient in dict.fromkeys(patient_of[study_id] for study_id in study_ids):
            if patient:
                sides_of.setdefault(patient, []).append(side)
    divided = [f"'{patient}' ({', '.join(on)})" for patient, on in sides_of.items() if len(on) > 1]
    if divided:
        more = f" and {len(divided) - _MOST_NAMED} more" if len(divided) > _MOST_NAMED else ""
        raise DataError(
            f"the publisher put {len(divided)} patient(s) on two sides: {', '.join(divided[:_MOST_NAMED])}{more}.",
            file=store.path,
            field=ATTRIBUTE,
            remedy="Leave --publisher out and make a split by patient, or give a corrected list with --list.",
        )


def _with_validation(
    sides: Mapping[Side, list[str]], store: Store, table: SplitTable, share: float, seed: int, texts: Texts
) -> dict[Side, list[str]]:
    if sides["validation"] or not sides["train"]:
        there = "has a validation side already" if sides["validation"] else "has no training side to take it from"
        raise DataError(f"a share for validation cannot be set aside: the publisher {there}.", file=store.path)
    # What is called test in this split is what it sets apart: the validation side of the other.
    inner = split_table(
        table.only(sides["train"]), test_fraction=share, validation_fraction=0, seed=seed, texts=texts
    ).folds[0]
    return {"train": [*inner.train], "validation": [*inner.test], "test": [*sides["test"]]}
