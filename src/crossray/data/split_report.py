"""What a split list means for a store: studies, patients, positives and shared texts of each side."""

from __future__ import annotations

from crossray.data.split_files import rows_of_fold, shared_texts
from crossray.data.split_table import SplitTable
from crossray.data.splits import SIDES, SplitList
from crossray.data.store import Store


def split_lines(split: SplitList, store: Store, table: SplitTable) -> list[str]:
    """The split list in words, and a check of every fold against the store.

    Raises:
        DataError: a patient stands on two sides, or the list was made for another store.
    """
    text_key_of = dict(zip(table.study_ids, table.text_keys, strict=True))
    lines = [f"protocol {split.protocol}, {len(split.folds)} fold(s), hash {split.hash[:12]}"]
    if split.notes:
        lines.append(split.notes)
    for fold in split.folds:
        rows = rows_of_fold(fold, store)
        positives = table.positives(fold)
        lines.append(f"fold {fold.name}:")
        for side in SIDES:
            counts = ", ".join(f"{n} {name}" for n, name in zip(positives[side], table.label_names, strict=True))
            held = len(rows.side(side))
            lines.append(f"  {side}: {held} studies" + (f" ({counts})" if counts and held else ""))
        if rows.absent:
            lines.append(f"  not in the store: {len(rows.absent)} studies, for example '{rows.absent[0]}'")
        shared = shared_texts(fold, text_key_of)
        told = [f"{count} {b} studies share their text with {a}" for (a, b), count in shared.items() if count]
        lines += [f"  {line}" for line in told]
    return lines
