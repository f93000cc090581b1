"""Scores inside groups of studies: who is in which, equal to scikit-learn on the part, and left open where few are."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from crossray.data.store import Store
from crossray.evaluation.groups import LEAST, Group, group_rows, groups_markdown, groups_of, write_groups
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.summary import FoldScores

N = 120
PROTOCOL = Protocol(id="toy", labels=("Edema", "Hernia"), draws=50)
OURS, FLOOR = Evaluated("pretrained (clip)"), Evaluated("ImageNet", kind="floor")


class Told:
    """As much of a store as groups need."""

    def attributes(self, index: int) -> dict[str, str]:
        told = {"view_position": "AP" if index % 3 == 0 else "pa", "sex": "F" if index % 2 else "M"}
        return told if index % 5 == 0 else {**told, "age": str(20 + index % 60)}


STORE = cast(Store, Told())


def _scores(seed: int) -> FoldScores:
    generator = np.random.default_rng(seed)
    labels = (generator.random((N, 2)) < [0.4, 0.03]).astype(float)
    scores = labels + generator.normal(size=(N, 2))
    return FoldScores("all", tuple(f"p{row // 2}" for row in range(N)), scores, labels)


def test_studies_are_grouped_by_what_they_tell() -> None:
    groups = {group.title: group.rows for group in groups_of(STORE, np.arange(N), ("view", "sex", "age"))}
    assert list(groups) == [
        "view AP",
        "view PA",
        "sex F",
        "sex M",
        "age 40 to 64",
        "age 65 and above",
        "age below 40",
    ]
    np.testing.assert_array_equal(groups["view AP"], np.arange(0, N, 3))
    np.testing.assert_array_equal(np.sort(np.concatenate([groups["sex F"], groups["sex M"]])), np.arange(N))
    known = np.concatenate([groups["age 40 to 64"], groups["age 65 and above"], groups["age below 40"]])
    np.testing.assert_array_equal(np.sort(known), [row for row in range(N) if row % 5])
    assert all(20 + row % 60 < 40 for row in groups["age below 40"])


def test_a_group_has_scikit_learns_area_and_its_own_counts() -> None:
    scores, groups = _scores(0), groups_of(STORE, np.arange(N), ("view", "sex"))
    rows = group_rows("probe", {OURS: scores, FLOOR: _scores(1)}, groups, PROTOCOL)
    for group in groups:
        row = next(
            row
            for row in rows
            if (row.by, row.group, row.label, row.model) == (group.by, group.name, "Edema", OURS.model)
        )
        part = scores.labels[group.rows, 0]
        assert row.value == pytest.approx(roc_auc_score(part, scores.scores[group.rows, 0]))
        assert (row.n, row.positives) == (len(part), int(part.sum()))
        assert row.low is not None
        assert row.high is not None
        assert row.value is not None
        assert row.low <= row.value <= row.high
    value = {(row.group, row.model): row.value for row in rows if row.label == "Edema" and row.by == "view"}
    ap, pa = value["AP", OURS.model], value["PA", OURS.model]
    assert ap is not None
    assert pa is not None
    assert value["AP − PA", OURS.model] == pytest.approx(ap - pa)


def test_patients_of_two_groups_are_drawn_for_both() -> None:
    # Each patient has the same study in either group: there is no difference, in any draw.
    half = _scores(0)
    labels, scores = (np.concatenate([values, values]) for values in (half.labels, half.scores))
    both = FoldScores("all", half.patient_ids * 2, scores, labels)
    groups = [Group("view", name, rows) for name, rows in zip(("AP", "PA"), np.split(np.arange(2 * N), 2), strict=True)]
    apart = next(row for row in group_rows("probe", {OURS: both}, groups, PROTOCOL) if row.group == "AP − PA")
    assert (apart.value, apart.low, apart.high) == (0.0, 0.0, 0.0)


def test_a_label_with_too_few_of_either_class_is_left_open() -> None:
    scores, groups = _scores(0), groups_of(STORE, np.arange(N), ("view",))
    assert all(scores.labels[group.rows, 1].sum() < LEAST for group in groups)
    rows = group_rows("probe", {OURS: scores}, groups, PROTOCOL)
    rare = [row for row in rows if row.label == "Hernia"]
    assert [row.value for row in rare] == [None, None, None]
    assert [row.positives is not None for row in rare] == [True, True, False]
    written = groups_markdown(rows)
    assert "| Hernia" not in written
    assert "Too few to say, fewer than 5 with or without the finding: Hernia in AP (n⁺ " in written
    assert "| Edema | AP (n⁺" in written


def test_the_same_draws_give_the_same_files(tmp_path: Path) -> None:
    groups = groups_of(STORE, np.arange(N), ("sex",))
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write_groups(group_rows("probe", {OURS: _scores(0)}, groups, PROTOCOL), tmp_path / name)
    for file in ("groups.csv", "groups.md"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
