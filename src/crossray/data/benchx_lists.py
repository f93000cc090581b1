"""The split lists that BenchX released, as a split list of ours (downstream_protocols spec, 8.1).

A data set has ``train.txt``, ``val.txt`` and ``test.txt``, and ``train_1.txt`` and ``train_10.txt`` with 1 and 10 % of
the training films: one id a line, of ChestX-ray14 with ``.png``. Those of SIIM-ACR name the films of another copy.
"""

from __future__ import annotations

from pathlib import Path

from crossray.data.splits import Fold, SplitList
from crossray.errors import DataError

TRAIN_LIST = "train.txt"
_TRAIN_LISTS = {1.0: TRAIN_LIST, 0.1: "train_10.txt", 0.01: "train_1.txt"}


def benchx_split(protocol: str, folder: Path, train_fraction: float = 1.0) -> SplitList:
    """The lists of a folder as one fold named ``fixed``.

    Args:
        protocol: the list's name, part of its hash.
        folder: of one data set, below ``preprocess/datasets/`` of the release.
        train_fraction: 0.01, 0.1 or 1.

    Raises:
        DataError: there is no list of that fraction, a list is missing or empty, or an id stands there twice.
    """
    if train_fraction not in _TRAIN_LISTS:
        raise DataError(
            f"there is no list of {train_fraction:g} of the training films.",
            file=folder,
            field="train_fraction",
            remedy="BenchX has 0.01, 0.1 and 1.",
        )
    train, validation, test = (_ids(folder / name) for name in (_TRAIN_LISTS[train_fraction], "val.txt", "test.txt"))
    seen: set[str] = set()
    for study_id in (*train, *validation, *test):
        if study_id in seen:
            raise DataError(f"'{study_id}' stands in its lists twice.", file=folder)
        seen.add(study_id)
    notes = f"The released lists of BenchX in '{folder.name}', {train_fraction:g} of the training films."
    return SplitList(protocol, (Fold("fixed", train, validation, test),), notes)


def _ids(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot be read ({error}).",
            file=path,
            remedy="Give a folder below preprocess/datasets/ of BenchX, with the lists of one data set.",
        ) from error
    if not lines:
        raise DataError("has no id.", file=path)
    return tuple(line.removesuffix(".png") for line in lines)
