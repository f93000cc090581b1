"""AUROC, average precision and medians against scikit-learn and numpy, weighted rows against repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from crossray.evaluation import metrics
from crossray.evaluation.metrics import (
    FloatArray,
    UndefinedMetricWarning,
    auroc,
    average_precision,
    macro_mean,
    per_label,
    weighted_mean,
    weighted_median,
)


def _tied_problem(seed: int, n: int = 200) -> tuple[FloatArray, FloatArray]:
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(np.float64)
    return np.round(generator.normal(size=n) + labels, 1), labels


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_scikit_learn_with_ties(seed: int) -> None:
    scores, labels = _tied_problem(seed)
    assert auroc(scores, labels)[0] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(scores, labels)[0] == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_going_through_the_draws_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = _tied_problem(3, n=50)
    labels[::7] = np.nan
    weights = np.random.default_rng(4).integers(0, 4, size=(9, 50)).astype(np.float64)
    weights[5] = 0.0
    whole = auroc(scores, labels, weights)
    monkeypatch.setattr(metrics, "_ELEMENTS_AT_ONCE", 100)
    np.testing.assert_array_equal(auroc(scores, labels, weights), whole)
    assert np.flatnonzero(np.isnan(whole)).tolist() == [5]


def test_counts_as_weights_equal_repeated_rows() -> None:
    scores, labels = _tied_problem(0, n=60)
    weights = np.random.default_rng(1).integers(0, 4, size=(50, 60)).astype(np.float64)
    expected = [
        (
            roc_auc_score(np.repeat(labels, row), np.repeat(scores, row)),
            average_precision_score(np.repeat(labels, row), np.repeat(scores, row)),
        )
        for row in weights.astype(int)
    ]
    found = np.stack([auroc(scores, labels, weights), average_precision(scores, labels, weights)], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_rows_of_unknown_label_are_left_out() -> None:
    scores, labels = _tied_problem(2)
    partly = np.where(np.arange(len(labels)) % 3 == 0, np.nan, labels)
    known = ~np.isnan(partly)
    assert auroc(scores, partly)[0] == pytest.approx(roc_auc_score(labels[known], scores[known]), abs=1e-12)


def test_check_13_a_single_class_is_nan_and_leaves_the_macro_mean_with_a_warning() -> None:
    scores = np.array([[0.1, 0.3], [0.9, 0.2], [0.4, 0.1]])
    labels = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    values = per_label(auroc, scores, labels)
    assert values[0, 0] == 1.0
    assert np.isnan(values[0, 1])
    assert np.isnan(per_label(average_precision, scores, 1 - 0 * labels)).all()
    with pytest.warns(UndefinedMetricWarning, match="Edema"):
        assert macro_mean(values[0], ["Atelectasis", "Edema"]) == 1.0


def test_macro_mean_of_nothing_defined_is_nan() -> None:
    assert np.isnan(macro_mean(np.array([[np.nan, np.nan]]))).all()


def test_no_known_row_is_nan_rather_than_an_error() -> None:
    assert np.isnan(auroc(np.zeros(3), np.full(3, np.nan))).all()


def test_a_score_that_is_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        auroc(np.array([0.1, np.nan]), np.array([0.0, 1.0]))


def test_weighted_mean_and_median_equal_those_of_repeated_rows() -> None:
    generator = np.random.default_rng(3)
    values = np.round(generator.normal(size=31), 1)
    weights = generator.integers(0, 3, size=(40, 31)).astype(np.float64)
    repeated = [np.repeat(values, row) for row in weights.astype(int)]
    np.testing.assert_allclose(weighted_median(values, weights), [np.median(row) for row in repeated], atol=1e-12)
    np.testing.assert_allclose(weighted_mean(values, weights), [row.mean() for row in repeated], atol=1e-12)
