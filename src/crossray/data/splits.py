"""Splits as explicit lists of study ids with a hash: patients never divided, identical texts kept together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crossray.data.stratify import group_together, stratified_parts
from crossray.errors import DataError
from crossray.files import sha256_of_json

Texts = Literal["together", "apart"]
Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True)
class Fold:
    """One division of studies; each side holds study ids, and no id stands on two sides."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def side(self, name: Side) -> tuple[str, ...]:
        """The ids of one side."""
        sides: Mapping[Side, tuple[str, ...]] = {
            "train": self.train,
            "validation": self.validation,
            "test": self.test,
        }
        return sides[name]

    @property
    def study_ids(self) -> tuple[str, ...]:
        """Every id of the fold."""
        return self.train + self.validation + self.test


@dataclass(frozen=True)
class SplitList:
    """A protocol's folds. ``notes`` say in words how it was made; they are not part of the hash."""

    protocol: str
    folds: tuple[Fold, ...]
    notes: str = ""

    @cached_property
    def hash(self) -> str:
        """sha256 (hex) of the protocol's name and every id list, whatever order the ids are written in."""
        folds = [[fold.name, *(sorted(fold.side(side)) for side in SIDES)] for fold in self.folds]
        return sha256_of_json([self.protocol, folds])

    def fold(self, name: str) -> Fold:
        """A fold by its name.

        Raises:
            DataError: there is no such fold.
        """
        for fold in self.folds:
            if fold.name == name:
                return fold
        known = ", ".join(fold.name for fold in self.folds)
        raise DataError(f"split '{self.protocol}' has no fold '{name}'.", remedy=f"Its folds are: {known}.")


def make_splits(
    study_ids: Sequence[str],
    patient_ids: Sequence[str | None],
    text_keys: Sequence[str | None],
    labels: NDArray[np.floating],
    *,
    folds: int = 5,
    seed: int = 0,
    validation_fraction: float = 0.1,
    test_fraction: float | None = None,
    protocol: str = "custom",
    notes: str = "",
) -> SplitList:
    """Patient-disjoint folds, identical texts on one side, every label spread evenly.

    Studies are tied by patient and by text (transitively); a study without a patient is tied by text only. With
    ``test_fraction`` there is one fold named ``fixed``; else ``folds`` cross-validation folds named ``0``, ``1``, ...
    whose test sides together hold every study once. Inside each training side ``validation_fraction`` of its
    studies is set aside, stratified likewise. The result does not depend on the order of the input.

    Args:
        text_keys: normalised report texts (:func:`crossray.data.text.normalise_text`); ``None`` ties nothing.
        labels: ``[n, K]``, 1 = positive.

    Raises:
        DataError: ids repeat, a fraction is out of range, or one group is larger than a part may be.
    """
    _check_request(study_ids, folds, validation_fraction, test_fraction)
    order = sorted(range(len(study_ids)), key=lambda row: natural_key(study_ids[row]))
    ids = np.array([study_ids[i] for i in order], dtype=object)
    groups = group_together([[patient_ids[i] for i in order], [text_keys[i] for i in order]])
    positives = labels[order]
    rng = np.random.default_rng(seed)
    shares = [1.0 / folds] * folds if test_fraction is None else [test_fraction, 1 - test_fraction]
    _check_largest_group(groups, max(shares))
    part = stratified_parts(groups, positives, shares, rng)
    names = [str(k) for k in range(folds)] if test_fraction is None else ["fixed"]
    made = [
        _fold(name, ids, groups, positives, part == k, validation_fraction, np.random.default_rng([seed, k + 1]))
        for k, name in enumerate(names)
    ]
    for fold in made:
        _check_sides(fold, validation_fraction)
    return SplitList(protocol, tuple(made), notes)


def nested_fractions(
    ids: Sequence[str],
    fractions: Sequence[float],
    seed: int,
    *,
    patient_ids: Sequence[str | None] | None = None,
    labels: NDArray[np.floating] | None = None,
) -> dict[float, tuple[str, ...]]:
    """Smaller and smaller parts of a training side, each inside the next larger one, patients kept whole.

    Args:
        fractions: shares in (0, 1]; each is drawn from the next larger, stratified on ``labels`` if given.

    Returns:
        fraction -> study ids, sorted; a fraction holds at least one study.

    Raises:
        DataError: a fraction is out of range.
    """
    if any(not 0 < fraction <= 1 for fraction in fractions):
        raise DataError(f"fractions {list(fractions)} must lie in (0, 1].")
    order = sorted(range(len(ids)), key=lambda row: natural_key(ids[row]))
    names = np.array([ids[i] for i in order], dtype=object)
    patients = [patient_ids[i] for i in order] if patient_ids is not None else [None] * len(order)
    groups = group_together([patients])
    positives = labels[order] if labels is not None else np.zeros((len(order), 0))
    kept, share = np.arange(len(order)), 1.0
    result: dict[float, tuple[str, ...]] = {}
    for step, fraction in enumerate(sorted(set(fractions), reverse=True)):
        if fraction < share:
            rng = np.random.default_rng([seed, step])
            inner = [fraction / share, 1 - fraction / share]
            part = stratified_parts(groups[kept], positives[kept], inner, rng)
            kept, share = (kept[part == 0] if (part == 0).any() else kept[:1]), fraction
        result[fraction] = tuple(names[kept])
    return result


def natural_key(study_id: str) -> tuple[int, int, str]:
    """Sorts ids as people count: numbers by value, then everything else."""
    return (0, int(study_id), study_id) if study_id.isdecimal() else (1, 0, study_id)


def _fold(
    name: str,
    ids: NDArray[np.object_],
    groups: NDArray[np.int64],
    positives: NDArray[np.floating],
    is_test: NDArray[np.bool_],
    validation_fraction: float,
    rng: np.random.Generator,
) -> Fold:
    rest = np.flatnonzero(~is_test)
    inner = np.ones(len(rest), dtype=np.int64)
    if validation_fraction > 0:
        inner = stratified_parts(groups[rest], positives[rest], [validation_fraction, 1 - validation_fraction], rng)
    return Fold(
        name,
        train=tuple(ids[rest[inner == 1]]),
        validation=tuple(ids[rest[inner == 0]]),
        test=tuple(ids[is_test]),
    )


def _check_request(
    study_ids: Sequence[str], folds: int, validation_fraction: float, test_fraction: float | None
) -> None:
    if len(set(study_ids)) != len(study_ids):
        raise DataError("study ids repeat: a split needs each study once.")
    if test_fraction is None and not 2 <= folds <= max(2, len(study_ids)):
        remedy = "Ask for 2 folds or more, and have a study for each."
        raise DataError(f"{folds} folds of {len(study_ids)} studies cannot be made.", remedy=remedy)
    if not 0 <= validation_fraction < 1 or (test_fraction is not None and not 0 < test_fraction < 1):
        raise DataError("fractions for validation and test must lie between 0 and 1.")


def _check_largest_group(groups: NDArray[np.int64], largest_share: float) -> None:
    if len(groups) == 0:
        raise DataError("there are no studies to split.")
    largest = int(np.bincount(groups).max())
    if largest > max(1.0, largest_share * len(groups)):
        raise DataError(
            f"{largest} of {len(groups)} studies are tied together by patient and by identical text: more than a part "
            "may hold.",
            remedy="Ask for fewer folds, or let identical texts part (--texts apart) and read R@K by text groups.",
        )


def _check_sides(fold: Fold, validation_fraction: float) -> None:
    asked: tuple[Side, ...] = SIDES if validation_fraction > 0 else ("train", "test")
    for side in asked:
        if not fold.side(side):
            raise DataError(
                f"the {side} side of fold '{fold.name}' would be empty: {len(fold.study_ids)} studies are too few, or "
                "too many of them are tied together.",
                remedy="Ask for fewer folds or another share, or give more studies.",
            )
