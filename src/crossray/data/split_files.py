"""Split lists in files: JSON of ours, hand-given CSV, and the protocols that ship with crossray."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossray.data.lovt_lists import lovt_split
from crossray.data.sources.tables import read_table
from crossray.data.splits import SIDES, Fold, Side, SplitList, natural_key
from crossray.data.store import Store
from crossray.errors import DataError
from crossray.files import SEAL, sha256_of_json, unsealed, write_whole

FORMAT_VERSION = 1

_PROTOCOLS = files("crossray.data") / "protocols"
_WRITTEN_SIDES: Mapping[str, Side] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class FoldRows:
    """A fold as rows of a store, each side in store order; ``absent`` ids stand in the list but not in the store."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    absent: tuple[str, ...]

    def side(self, name: Side) -> NDArray[np.int64]:
        """The rows of one side."""
        sides: Mapping[Side, NDArray[np.int64]] = {
            "train": self.train,
            "validation": self.validation,
            "test": self.test,
        }
        return sides[name]


def protocol_names() -> list[str]:
    """Protocols that ship with crossray."""
    return sorted(entry.name.removesuffix(".json") for entry in _PROTOCOLS.iterdir() if entry.name.endswith(".json"))


def write_split(split: SplitList, path: Path) -> None:
    """Write a split list as JSON, whole or not at all: equal lists give equal bytes.

    One line a side. A training side that is everything else is not spelled out, which keeps k folds small.
    """
    everything = sorted({study_id for fold in split.folds for study_id in fold.study_ids}, key=natural_key)
    folds = []
    for fold in split.folds:
        rest = set(everything) - set(fold.validation) - set(fold.test)
        train = "rest" if rest == set(fold.train) else sorted(fold.train, key=natural_key)
        sides = {"validation": sorted(fold.validation, key=natural_key), "test": sorted(fold.test, key=natural_key)}
        folds.append({"name": fold.name, "train": train, **sides})
    head = {
        "kind": "crossray-split",
        "format_version": FORMAT_VERSION,
        "protocol": split.protocol,
        "hash": split.hash,
        "notes": split.notes,
        "studies": everything,
    }
    lines = [f'"{key}": {_line(value)},' for key, value in head.items()]
    blocks = [",\n".join(f'"{key}": {_line(value)}' for key, value in fold.items()) for fold in folds]
    lines.append('"folds": [\n{' + "},\n{".join(blocks) + "}\n],")
    lines.append(f'"{SEAL}": {_line(sha256_of_json({**head, "folds": folds}))}')
    write_whole(path, "{\n" + "\n".join(lines) + "\n}\n")


def read_split(where: Path | str) -> SplitList:
    """A split list: the name of a shipped protocol, a JSON file, a hand-given CSV, or a folder of LoVT's lists.

    The CSV has the columns ``study_id, split`` (train, validation or val, test) and, for several folds, ``fold``. A
    folder holds ``train.csv``, ``validation.csv`` and ``test.csv`` as LoVT released them
    (:func:`crossray.data.lovt_lists.lovt_split`), and gives the list its name.

    Raises:
        DataError: there is no such list, it was altered, or a study stands on two sides of a fold.
    """
    if str(where) in protocol_names():
        resource = _PROTOCOLS / f"{where}.json"
        return _parse(resource.read_text(encoding="utf-8"), str(where))
    path = Path(where)
    if path.is_dir():
        return lovt_split(path.name, path)
    if not path.is_file():
        known = ", ".join(protocol_names())
        raise DataError("is neither a file nor a protocol of crossray.", file=path, remedy=f"Protocols are: {known}.")
    if path.suffix.lower() == ".json":
        return _parse(path.read_bytes(), str(path))
    return _from_csv(path)


def rows_of_fold(fold: Fold, store: Store) -> FoldRows:
    """A fold's rows in a store; studies that the store does not hold are listed, not dropped in silence.

    Raises:
        DataError: a patient of the store stands on two sides, or a side of the list has none of its studies there.
    """
    found = {side: store.rows_of(fold.side(side)) for side in SIDES}
    rows: dict[Side, NDArray[np.int64]] = {side: np.sort(found[side][found[side] >= 0]) for side in SIDES}
    if _share_patients([store.patient_numbers[rows[side]] for side in SIDES]):
        check_patients(fold, dict(zip(store.study_ids, store.patient_ids, strict=True)))
    for side in SIDES:
        ids = fold.side(side)
        if ids and not len(rows[side]):
            raise DataError(
                f"none of the {len(ids)} {side} studies of fold '{fold.name}' is in the store.",
                file=store.path,
                remedy="Was the split made for another data set?",
            )
    absent = tuple(fold.side(side)[place] for side in SIDES for place in np.flatnonzero(found[side] < 0))
    return FoldRows(rows["train"], rows["validation"], rows["test"], absent)


def _share_patients(sides: Sequence[NDArray[np.int64]]) -> bool:
    """Whether two sides, as numbers of patients (-1 unknown), have one in common."""
    known = [np.unique(numbers[numbers >= 0]) for numbers in sides]
    together = np.concatenate(known)
    return len(np.unique(together)) < len(together)


def check_patients(fold: Fold, patient_of: Mapping[str, str | None]) -> None:
    """Refuse a fold in which one patient stands on two sides.

    Raises:
        DataError: naming the patient, two of its studies and their sides.
    """
    seen: dict[str, tuple[Side, str]] = {}
    for side in SIDES:
        for study_id in fold.side(side):
            patient = patient_of.get(study_id)
            if not patient:
                continue
            first_side, first_study = seen.setdefault(patient, (side, study_id))
            if first_side != side:
                raise DataError(
                    f"patient '{patient}' is in two splits of fold '{fold.name}': study '{first_study}' in "
                    f"{first_side}, study '{study_id}' in {side}.",
                    remedy="Move all studies of a patient to one side, or let 'crossray data split' make the list.",
                )


def shared_texts(fold: Fold, text_key_of: Mapping[str, str]) -> dict[tuple[Side, Side], int]:
    """For each two sides, how many studies of the later one share their text with one of the earlier.

    Args:
        text_key_of: study id -> normalised text; ids that are not in it are passed over.
    """
    keys = {side: [text_key_of[i] for i in fold.side(side) if text_key_of.get(i)] for side in SIDES}
    known = {side: set(keys[side]) for side in SIDES}
    pairs: list[tuple[Side, Side]] = [("train", "validation"), ("train", "test"), ("validation", "test")]
    return {(first, second): sum(key in known[first] for key in keys[second]) for first, second in pairs}


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_ALTERED_REMEDY = "Take the original, or give your own list as a CSV of study_id, split."


def _parse(text: str | bytes, where: str) -> SplitList:
    try:
        content = json.loads(text)
        _check_head(content, where)
        everything = content["studies"]
        folds = tuple(_fold(entry, everything) for entry in content["folds"])
        split = SplitList(content["protocol"], folds, content.get("notes", ""))
        written_hash = content["hash"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"is not a split list ({type(error).__name__}: {error}).", file=where) from error
    for fold in folds:
        _check_sides(fold, where)
    if written_hash != split.hash:
        raise DataError(
            "the id lists do not fit the hash: the file was altered.",
            file=where,
            field="hash",
            remedy=_ALTERED_REMEDY,
        )
    try:
        unsealed(content)
    except ValueError as error:
        raise DataError(f"the file was altered: {error}.", file=where, remedy=_ALTERED_REMEDY) from error
    return split


def _check_head(content: Any, where: str) -> None:
    if content["kind"] != "crossray-split":
        raise DataError("is JSON, but no split list.", file=where, field="kind")
    if content["format_version"] != FORMAT_VERSION:
        raise DataError(
            f"has format version {content['format_version']}, this crossray reads {FORMAT_VERSION}.",
            file=where,
            field="format_version",
        )


def _fold(entry: Mapping[str, Any], everything: Sequence[str]) -> Fold:
    validation, test = tuple(entry["validation"]), tuple(entry["test"])
    taken = {*validation, *test}
    train = [i for i in everything if i not in taken] if entry["train"] == "rest" else entry["train"]
    return Fold(str(entry["name"]), tuple(train), validation, test)


def _from_csv(path: Path) -> SplitList:
    table = read_table(path, ("study_id", "split"))
    sides: dict[str, dict[Side, list[str]]] = {}
    for row in table.rows:
        side = _WRITTEN_SIDES.get(row["split"].lower())
        if side is None or not row["study_id"]:
            problem = f"'{row['split']}' is not train, validation or test." if side is None else "the id is empty."
            raise DataError(problem, file=path, row=row.number, field="split" if side is None else "study_id")
        fold = sides.setdefault(row["fold"] or "fixed", {name: [] for name in SIDES})
        fold[side].append(row["study_id"])
    folds = tuple(Fold(name, *(tuple(lists[side]) for side in SIDES)) for name, lists in sides.items())
    for made in folds:
        _check_sides(made, str(path))
    return SplitList(path.stem, folds, f"read from {path.name}")


def _check_sides(fold: Fold, where: str) -> None:
    twice = [study_id for study_id, count in Counter(fold.study_ids).items() if count > 1]
    if twice:
        sides = [side for side in SIDES if twice[0] in fold.side(side)]
        places = " and ".join(sides) if len(sides) > 1 else f"{sides[0]} twice"
        raise DataError(
            f"study '{twice[0]}' is in {places} of fold '{fold.name}'.", file=where, row=twice[0], field="study_id"
        )
