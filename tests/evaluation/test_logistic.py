"""Regressions fitted side by side end where scikit-learn ends, and where each would have ended alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from crossray.evaluation.logistic import fit_logistic
from crossray.evaluation.metrics import FloatArray


def _data(rows: int = 150, width: int = 40, labels: int = 3) -> tuple[FloatArray, FloatArray]:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(rows, width)) @ generator.normal(size=(width, width)) / 6  # correlated
    truth = features @ generator.normal(size=(width, labels)) + generator.normal(size=(rows, labels)) - 1
    return features, (truth > 0).astype(np.float64)


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
def test_weights_and_bias_equal_scikit_learns(strength: float) -> None:
    features, targets = _data()
    found = fit_logistic(features, targets, np.full(3, strength), tolerance=1e-8)
    for label in range(3):
        model = LogisticRegression(C=strength, tol=1e-9, max_iter=5000).fit(features, targets[:, label])
        np.testing.assert_allclose(found.weights[:, label], model.coef_[0], atol=1e-5)
        np.testing.assert_allclose(found.bias[label], model.intercept_[0], atol=1e-5)
    np.testing.assert_allclose(found.decision(features), features @ found.weights + found.bias)


def test_a_problem_ends_where_and_when_it_ends_alone() -> None:
    features, targets = _data()
    strength = np.array([1e-3, 0.1, 10.0])
    together = fit_logistic(features, targets, strength)
    assert len(set(together.steps.tolist())) == 3
    for label in range(3):
        alone = fit_logistic(features, targets[:, [label]], strength[[label]])
        assert alone.steps[0] == together.steps[label]
        np.testing.assert_allclose(alone.weights[:, 0], together.weights[:, label], atol=1e-9)


def test_rows_of_unknown_target_have_no_part_in_their_problem() -> None:
    features, targets = _data()
    masked = targets.copy()
    masked[100:, 1] = np.nan
    found = fit_logistic(features, masked, np.full(3, 0.1))
    np.testing.assert_allclose(
        found.weights[:, [0, 2]], fit_logistic(features, targets, np.full(3, 0.1)).weights[:, [0, 2]]
    )
    without = fit_logistic(features[:100], targets[:100, [1]], np.array([0.1]))
    np.testing.assert_allclose(found.weights[:, 1], without.weights[:, 0], atol=1e-9)


def test_a_target_with_one_class_or_none_known_gets_no_weights() -> None:
    features, targets = _data()
    targets[:, 0], targets[:, 1] = 1.0, np.nan
    found = fit_logistic(features, targets, np.full(3, 0.1))
    assert not found.weights[:, :2].any()
    assert not found.bias[:2].any()
    assert found.weights[:, 2].any()


def test_separable_data_hardly_penalised_end_at_the_last_step() -> None:
    features = np.array([[-1.0], [1.0]])
    found = fit_logistic(features, np.array([[0.0], [1.0]]), np.array([1e12]), tolerance=0.0, max_steps=25)
    assert found.steps.tolist() == [25]
    assert found.decision(features)[1, 0] > 5
