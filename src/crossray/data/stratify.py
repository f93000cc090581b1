"""Groups that must stay together, and dealing them into parts so that every label is spread evenly.

Iterative stratification after Sechidis, Tsoumakas and Vlahavas (ECML PKDD 2011), carried from single samples to
groups: labels are served rarest first, each group goes to the part that still wants most of that label and has room.
Everything is decided by counts; ties fall by a seeded order, so the same input gives the same parts everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def group_together(keys: Sequence[Sequence[str | None]]) -> NDArray[np.int64]:
    """Union-find over several keys: rows that share any key, directly or through others, get one group.

    Args:
        keys: for each kind of key (patient, text) one value a row; ``None`` and ``""`` tie nothing.

    Returns:
        ``[n]`` int64, groups numbered from 0 in order of their first row.
    """
    count = len(keys[0]) if keys else 0
    parent = list(range(count))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in keys:
        first_with: dict[str, int] = {}
        for row, key in enumerate(column):
            if key:
                earlier = first_with.setdefault(key, row)
                a, b = sorted((root(earlier), root(row)))
                parent[b] = a
    roots = [root(row) for row in range(count)]
    number = {old: new for new, old in enumerate(dict.fromkeys(roots))}
    return np.array([number[old] for old in roots], dtype=np.int64)


def stratified_parts(
    groups: NDArray[np.int64], labels: NDArray[np.floating], proportions: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Deal rows into parts, whole groups at a time, each part with its share of every label's positives.

    Args:
        groups: ``[n]`` int64, rows of one group stay together.
        labels: ``[n, K]``, 1 = positive; anything else (0, NaN) does not count. K may be 0.
        proportions: share of each part, any positive scale.
        rng: breaks ties.

    Returns:
        ``[n]`` int64, the part of each row.
    """
    names, member_of = np.unique(groups, return_inverse=True)
    shares = np.asarray(proportions, dtype=np.float64)
    shares = shares / shares.sum()
    sizes = np.bincount(member_of, minlength=len(names)).astype(np.float64)
    positives = np.zeros((len(names), labels.shape[1]))
    np.add.at(positives, member_of, (labels == 1).astype(np.float64))
    part_of_group = _deal(positives, sizes, shares, rng)
    return part_of_group[member_of]


def _deal(
    positives: NDArray[np.float64], sizes: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    # positives [G, K], sizes [G], shares [P]; what a part still wants falls as groups are dealt to it.
    wanted_labels = np.outer(shares, positives.sum(axis=0))
    wanted_rows = shares * sizes.sum()
    tie = rng.permutation(len(sizes))
    part = np.full(len(sizes), -1, dtype=np.int64)

    def give(group: int, target: int) -> None:
        part[group] = target
        wanted_labels[target] -= positives[group]
        wanted_rows[target] -= sizes[group]

    # Groups that do not fit into the smallest part have least choice: first, while there is room elsewhere.
    large = np.flatnonzero(sizes > np.round(wanted_rows.min(), 6))
    for group in large[np.lexsort((tie[large], -sizes[large]))]:
        give(int(group), _neediest(wanted_rows, wanted_rows, sizes[group]))
    while (label := _rarest_open_label(positives, part)) is not None:
        having = np.flatnonzero((part < 0) & (positives[:, label] > 0))
        # Biggest first: small groups can still even out what a big one upset.
        for group in having[np.lexsort((tie[having], -sizes[having], -positives[having, label]))]:
            give(int(group), _neediest(wanted_labels[:, label], wanted_rows, sizes[group]))
    rest = np.flatnonzero(part < 0)
    for group in rest[np.lexsort((tie[rest], -sizes[rest]))]:
        give(int(group), _neediest(wanted_rows, wanted_rows, sizes[group]))
    return part


def _rarest_open_label(positives: NDArray[np.float64], part: NDArray[np.int64]) -> int | None:
    remaining = positives[part < 0].sum(axis=0)
    if not (remaining > 0).any():
        return None
    return int(np.argmin(np.where(remaining > 0, remaining, np.inf)))


def _neediest(wanted: NDArray[np.float64], wanted_rows: NDArray[np.float64], size: float) -> int:
    # Rounded, so that sums of shares such as 0.1 + 0.2 tie as they should on every machine. A part without room for
    # half of the group comes last: else few studies with rare labels would all go to the largest part.
    rows = np.round(wanted_rows, 6)
    return int(np.lexsort((-rows, -np.round(wanted, 6), rows < size / 2))[0])
