from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.data.stratify import group_together, stratified_parts

KEYS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "", None]), st.sampled_from(["x", "y", "z", None])), max_size=9
)


@given(KEYS)
def test_rows_share_a_group_exactly_if_a_chain_of_keys_ties_them(rows: list[tuple[str | None, str | None]]) -> None:
    groups = group_together([[row[0] for row in rows], [row[1] for row in rows]])
    # slow oracle: spread the smallest group number along every shared key until nothing changes
    oracle = list(range(len(rows)))
    for _ in rows:
        for i, first in enumerate(rows):
            for j, second in enumerate(rows):
                if any(a and a == b for a, b in zip(first, second, strict=True)):
                    oracle[i] = oracle[j] = min(oracle[i], oracle[j])
    assert [[a == b for b in groups] for a in groups] == [[a == b for b in oracle] for a in oracle]


def test_no_rows_make_no_groups() -> None:
    assert group_together([[], []]).tolist() == []


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_groups_are_never_divided(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 12, size=40)
    labels = rng.integers(0, 2, size=(40, 3)).astype(np.float32)
    part = stratified_parts(groups, labels, [1.0] * parts, rng)
    assert all(len(set(part[groups == group])) == 1 for group in set(groups.tolist()))
    assert set(part.tolist()) <= set(range(parts))


def test_singles_are_spread_evenly_for_every_label() -> None:
    rng = np.random.default_rng(3)
    labels = (rng.random((1000, 4)) < [0.3, 0.1, 0.05, 0.02]).astype(np.float32)
    part = stratified_parts(np.arange(1000), labels, [0.2] * 5, rng)
    counts = np.array([labels[part == k].sum(axis=0) for k in range(5)])
    assert np.bincount(part).tolist() == [200] * 5
    assert (counts.max(axis=0) - counts.min(axis=0) <= 2).all()


def test_shares_are_kept_and_unknown_labels_do_not_count() -> None:
    labels = np.full((100, 1), np.nan, dtype=np.float32)
    labels[:20] = 1
    part = stratified_parts(np.arange(100), labels, [7, 1, 2], np.random.default_rng(0))
    assert np.bincount(part).tolist() == [70, 10, 20]
    assert np.bincount(part[:20]).tolist() == [14, 2, 4]


@pytest.mark.parametrize("label_count", [0, 2])
def test_the_same_seed_deals_the_same(label_count: int) -> None:
    groups = np.arange(50) // 2
    labels = np.random.default_rng(1).integers(0, 2, size=(50, label_count)).astype(np.float32)
    first, second = (stratified_parts(groups, labels, [1, 1], np.random.default_rng(9)) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_a_part_that_is_full_takes_no_more_for_a_rare_label() -> None:
    labels = np.array([[1, 0], [1, 0], [0, 0], [0, 1]], dtype=np.float32)
    part = stratified_parts(np.array([0, 0, 0, 1]), labels, [0.75, 0.25], np.random.default_rng(0))
    assert part.tolist() == [0, 0, 0, 1]
