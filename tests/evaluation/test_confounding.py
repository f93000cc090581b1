"""Confounding: groups are told from features on other patients, and membership alone ranks labels as it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from crossray.evaluation.confounding import (
    alone_rows,
    confounding_markdown,
    contrasts,
    readable_rows,
    write_confounding,
)
from crossray.evaluation.groups import Group
from crossray.evaluation.probe import ProbeConfig
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.rows import Evaluated

N = 120
PROTOCOL = Protocol(id="toy", labels=("Edema",), draws=50)
CONFIG = ProbeConfig(c_grid=(0.01, 0.1))
AP, PA = Group("view", "AP", np.arange(0, N, 2)), Group("view", "PA", np.arange(1, N, 2))
AGES = [Group("age", name, np.arange(start, N - 6, 3)) for start, name in enumerate(("old", "middle", "young"))]
PATIENTS = tuple(None if row >= N - 4 else f"p{row // 2}" for row in range(N))
OURS, FLOOR = Evaluated("pretrained (clip)"), Evaluated("ImageNet", kind="floor")


def _features(seed: int, lean: float) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(N, 6)).astype(np.float32)
    features[AP.rows, 0] += lean
    return features


def test_two_groups_are_one_contrast_and_three_are_three() -> None:
    found = list(contrasts([AP, PA, *AGES]))
    assert [group.title for group, _ in found] == ["view AP", "age old", "age middle", "age young"]
    np.testing.assert_array_equal(found[0][1], np.arange(N))
    np.testing.assert_array_equal(found[1][1], np.arange(N - 6))  # who tells no age is not asked


def test_a_group_with_too_few_inside_or_outside_is_not_a_contrast() -> None:
    few = Group("sex", "F", np.arange(3))
    assert not list(contrasts([few, Group("sex", "M", np.arange(3, N))]))
    assert not list(contrasts([Group("sex", "M", np.arange(N))]))


def test_a_view_in_the_features_is_found_and_one_that_is_not_is_not() -> None:
    features = {OURS: _features(0, 6.0), FLOOR: _features(1, 0.0)}
    leaning, blind = readable_rows(features, [AP, PA], PATIENTS, PROTOCOL, CONFIG)
    assert (leaning.n, leaning.positives, leaning.label) == (N, N // 2, None)
    assert leaning.value is not None
    assert leaning.value > 0.99
    assert blind.low is not None
    assert blind.high is not None
    assert blind.low < 0.5 < blind.high


def test_a_patient_cannot_be_recognised_instead_of_a_group() -> None:
    # Every patient has a mark of its own and is wholly in one group: seen in training, the mark would tell it.
    patients = tuple(f"p{row // 4}" for row in range(N))
    marks = np.eye(N // 4, dtype=np.float32)[np.arange(N) // 4]
    inside = np.flatnonzero(np.random.default_rng(3).random(N // 4)[np.arange(N) // 4] > 0.5)
    groups = [Group("sex", "F", inside), Group("sex", "M", np.setdiff1d(np.arange(N), inside))]
    (row,) = readable_rows({OURS: marks}, groups, patients, PROTOCOL, CONFIG)
    assert row.value is not None
    assert row.value <= 0.6


def test_membership_alone_has_scikit_learns_area() -> None:
    generator = np.random.default_rng(5)
    inside = np.zeros(N)
    inside[AP.rows] = 1
    labels = np.stack([generator.random(N) < 0.2 + 0.5 * inside, np.arange(N) < 2], axis=1).astype(float)
    labels[7, 0] = np.nan
    edema, rare = alone_rows(labels, ["Edema", "Hernia"], [AP, PA], PATIENTS, PROTOCOL)
    known = ~np.isnan(labels[:, 0])
    assert edema.value == pytest.approx(roc_auc_score(labels[known, 0], inside[known]))
    assert (edema.n, edema.positives) == (N - 1, int(np.nansum(labels[:, 0])))
    assert edema.low is not None
    assert edema.low > 0.5
    assert rare.value is None
    table = confounding_markdown([edema, rare])
    assert "| label | view AP |" in table
    assert "| Edema |" in table
    assert "Hernia" not in table


def test_the_same_draws_give_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        rows = readable_rows({OURS: _features(0, 1.0)}, [AP, PA, *AGES], PATIENTS, PROTOCOL, CONFIG)
        write_confounding(rows, tmp_path / name)
    for file in ("confounding.csv", "confounding.md"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
