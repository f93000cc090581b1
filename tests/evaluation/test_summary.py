"""Folds are pooled as documented, differences are paired, and every row carries its counts and its interval."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from crossray.errors import ConfigError
from crossray.evaluation.metrics import auroc
from crossray.evaluation.protocol import Protocol, protocol_for
from crossray.evaluation.report.operating import label_curves
from crossray.evaluation.results import Results, Row
from crossray.evaluation.retrieval import retrieval_ranks
from crossray.evaluation.rows import DIRECTIONS, Evaluated, classification_rows, retrieval_rows
from crossray.evaluation.summary import FoldRanks, FoldScores, sample_classification

PROTOCOL = Protocol(id="toy", labels=("A", "B", "C"), common_labels=("A", "B"), draws=200)
_NO_ROWS = cast(Results, SimpleNamespace(select=lambda **_: []))
OURS, FLOOR = Evaluated("ours"), Evaluated("ImageNet", kind="floor")


def _folds(signal: float, seed: int = 0, shift: float = 0.0) -> list[FoldScores]:
    """Two folds whose scores live on different scales; C has no positive."""
    folds = []
    for fold in range(2):
        generator = np.random.default_rng([seed, fold])
        labels = (np.random.default_rng(fold).random((120, 3)) < [0.3, 0.2, 0.0]).astype(np.float64)
        scores = signal * labels + generator.normal(size=(120, 3)) + shift * fold
        folds.append(FoldScores(str(fold), (None,) * 120, scores, labels))
    return folds


def test_the_headline_is_the_mean_of_the_folds() -> None:
    folds = _folds(1.0)
    sample = sample_classification(auroc, folds, PROTOCOL)
    expected = np.mean([auroc(fold.scores[:, 0], fold.labels[:, 0])[0] for fold in folds])
    assert sample.estimate[0] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(sample.estimate[2])


@pytest.mark.parametrize("pooling", ["mean_of_folds", "pooled"])
def test_a_shift_between_folds_changes_nothing(pooling: str) -> None:
    plain, shifted = (
        sample_classification(auroc, _folds(1.0, shift=shift), PROTOCOL, pooling)  # type: ignore[arg-type]
        for shift in (0.0, 100.0)
    )
    np.testing.assert_allclose(plain.estimate, shifted.estimate, atol=1e-12)
    np.testing.assert_allclose(plain.draws, shifted.draws, atol=1e-12)


def test_a_model_compared_with_itself_differs_by_exactly_zero() -> None:
    sample = sample_classification(auroc, _folds(1.0), PROTOCOL)
    again = sample_classification(auroc, _folds(1.0), PROTOCOL)
    assert (np.nan_to_num(sample.minus(again).draws) == 0).all()


def test_the_mean_by_weights_leaves_out_what_is_undefined() -> None:
    sample = sample_classification(auroc, _folds(1.0), PROTOCOL)
    mean = sample.mean_by(np.array([3.0, 1.0, 5.0]))
    np.testing.assert_allclose(mean.estimate, [(3 * sample.estimate[0] + sample.estimate[1]) / 4])
    np.testing.assert_allclose(mean.draws[:, 0], (3 * sample.draws[:, 0] + sample.draws[:, 1]) / 4)


def _rows() -> list[Row]:
    with pytest.warns(UserWarning, match="C: only one class present"):
        return classification_rows("probe", {OURS: _folds(2.0), FLOOR: _folds(0.5, seed=1)}, [(OURS, FLOOR)], PROTOCOL)


def test_check_13_rows_leave_undefined_labels_out_of_the_mean() -> None:
    rows = [row for row in _rows() if row.model == "ours" and row.metric == "AUROC"]
    values = {row.target: row.value for row in rows}
    assert values["C"] is None
    assert values["A"] is not None
    assert values["B"] is not None
    assert values["mean of all 3"] == pytest.approx((values["A"] + values["B"]) / 2)
    assert values["mean of the common 2"] == values["mean of all 3"]


def test_rows_carry_counts_and_a_paired_difference_above_zero() -> None:
    rows = _rows()
    difference = next(row for row in rows if row.kind == "difference" and row.target == "A")
    assert difference.model == "ours − ImageNet"
    assert difference.low is not None
    assert difference.low > 0
    assert difference.n == 240
    positives = sum(int(fold.labels[:, 0].sum()) for fold in _folds(1.0))
    assert difference.positives == positives
    assert {row.metric for row in rows} == {"AUROC", "ECE", "Brier", "AP", "AUROC, pooled"}


def test_calibration_is_that_of_the_probabilities_of_all_folds_together() -> None:
    ours, floor = _folds(2.0), _folds(0.5, seed=1)
    ours[1].labels[:7, 0] = floor[1].labels[:7, 0] = np.nan
    with pytest.warns(UserWarning, match="C: only one class present"):
        rows = classification_rows("probe", {OURS: ours, FLOOR: floor}, [(OURS, FLOOR)], PROTOCOL)
    value = {(row.model, row.metric, row.target): row.value for row in rows}
    for who, folds in (("ours", ours), ("ImageNet", floor)):
        labels = np.concatenate([fold.labels[:, 0] for fold in folds])
        known = ~np.isnan(labels)
        probabilities = 1 / (1 + np.exp(-np.concatenate([fold.scores[:, 0] for fold in folds])))
        assert value[who, "Brier", "A"] == pytest.approx(brier_score_loss(labels[known], probabilities[known]))
        (curve, *_) = label_curves("probe", Evaluated(who), folds, PROTOCOL, _NO_ROWS)
        assert value[who, "ECE", "A"] == pytest.approx(curve.calibration_error), "the figure says what the table says"
        assert value[who, "Brier", "C"] is not None, "defined without a positive, unlike an AUROC"
    for metric in ("ECE", "Brier"):
        chosen = {row.model: row for row in rows if row.metric == metric and row.target == "mean of the common 2"}
        assert list(chosen) == ["ours", "ImageNet", "ours − ImageNet"]
        first, second, difference = (float(row.value or 0) for row in chosen.values())
        assert difference == pytest.approx(first - second)
        assert all(row.low is not None and row.high is not None and row.low < row.high for row in chosen.values())
        assert first == pytest.approx(np.mean([value["ours", metric, label] or 0 for label in "AB"]))


@pytest.mark.filterwarnings("ignore:C. only one class present")
def test_cosines_have_no_calibration_and_neither_has_a_variant() -> None:
    variant = Evaluated("ours", "mean with another", "variant")
    zero_shot = classification_rows("zero_shot", {OURS: _folds(2.0)}, [], PROTOCOL)
    tuned = classification_rows(
        "finetune",
        {OURS: _folds(2.0), variant: _folds(2.0), FLOOR: _folds(0.5, seed=1)},
        [(OURS, FLOOR), (variant, FLOOR)],
        PROTOCOL,
    )
    assert {row.metric for row in zero_shot} == {"AUROC", "AP", "AUROC, pooled"}
    of_variant = {row.metric for row in tuned if row.variant}
    assert of_variant == {"AUROC"}
    assert sum(row.metric == "ECE" and row.kind == "difference" for row in tuned) == 5, "three labels and two means"


def test_retrieval_rows_pool_hits_over_folds_and_state_exact_chance() -> None:
    generator = np.random.default_rng(0)
    names = tuple(DIRECTIONS)

    def ranked(signal: float) -> dict[str, list[FoldRanks]]:
        found: dict[str, list[FoldRanks]] = {name: [] for name in names}
        for fold, size in enumerate((20, 30)):
            scores = signal * np.eye(size) + generator.normal(size=(size, size))
            ranks = retrieval_ranks(scores, np.arange(size) // 2)
            for name in names:
                counts = getattr(ranks, name)
                found[name].append(FoldRanks(str(fold), (None,) * len(counts.better), counts))
        return found

    rows = retrieval_rows({OURS: ranked(4.0), FLOOR: ranked(0.0)}, [(OURS, FLOOR)], PROTOCOL)
    forward = {(row.model, row.metric): row for row in rows if row.target == "film → report"}
    assert forward["chance", "R@10"].value == pytest.approx((20 * 10 / 20 + 30 * 10 / 30) / 50)
    assert forward["ours", "R@1"].n == 50
    low, chance = forward["ours", "R@5"].low, forward["chance", "R@5"].value
    assert low is not None
    assert chance is not None
    assert low > chance
    assert {row.target for row in rows} == set(DIRECTIONS.values())


def test_a_split_without_a_shipped_protocol_scores_the_stores_labels() -> None:
    assert protocol_for("mine", ["A", "B"], np.array([[0, 0], [1, 0]], np.float32)).labels == ("A",)
    names = ["Consolidation", "Edema", "Cardiomegaly", "Atelectasis", "Pleural Effusion"]
    shipped = protocol_for("iu-rr-v1", names, np.zeros((2, 5), np.float32))
    assert len(shipped.labels) == 5
    assert len(shipped.common_labels) == 3


def test_a_store_without_the_protocols_labels_is_told_which() -> None:
    with pytest.raises(ConfigError, match="scores Atelectasis"):
        protocol_for("iu-rr-v1", ["A"], np.zeros((2, 1), np.float32))
