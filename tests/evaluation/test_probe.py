"""The probe equals scikit-learn's pipeline, tunes on validation only, and survives labels with one class."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crossray.evaluation.metrics import auroc
from crossray.evaluation.probe import FeatureSplit, ProbeConfig, choose_row, linear_probe


def _part(seed: int, n: int) -> FeatureSplit:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 6)).astype(np.float32)
    labels = (features[:, :2] + 0.5 * generator.normal(size=(n, 2)) > 0.5).astype(np.float64)
    return FeatureSplit(features, labels)


def test_scores_equal_scikit_learns_pipeline() -> None:
    train, validation, test = _part(0, 200), _part(1, 80), _part(2, 50)
    found = linear_probe(train, validation, test.features, ProbeConfig(c_grid=(0.1,)))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8)).fit(train.features, train.labels[:, 0])
    np.testing.assert_allclose(found.test_scores[:, 0], model.decision_function(test.features), atol=1e-4)
    assert auroc(found.test_scores[:, 0], test.labels[:, 0])[0] > 0.9


def test_test_films_have_no_part_in_the_choice() -> None:
    train, validation, test = _part(0, 100), _part(1, 60), _part(2, 40)
    first = linear_probe(train, validation, test.features, ProbeConfig())
    second = linear_probe(train, validation, test.features[::-1] * 7, ProbeConfig())
    assert first.chosen_c == second.chosen_c
    np.testing.assert_array_equal(first.validation_scores, second.validation_scores)


def test_rows_of_unknown_label_are_left_out_of_the_fit() -> None:
    train, validation, test = _part(0, 100), _part(1, 60), _part(2, 40)
    labels = train.labels.copy()
    labels[50:, 0] = np.nan
    masked = linear_probe(FeatureSplit(train.features, labels), validation, test.features, ProbeConfig(c_grid=(1.0,)))
    again = linear_probe(FeatureSplit(train.features, labels), validation, test.features, ProbeConfig(c_grid=(1.0,)))
    full = linear_probe(train, validation, test.features, ProbeConfig(c_grid=(1.0,)))
    np.testing.assert_array_equal(masked.test_scores, again.test_scores)
    assert not np.allclose(masked.test_scores[:, 0], full.test_scores[:, 0])
    np.testing.assert_allclose(masked.test_scores[:, 1], full.test_scores[:, 1])


def test_a_label_with_one_class_in_training_scores_alike_everywhere() -> None:
    train, validation, test = _part(0, 60), _part(1, 30), _part(2, 20)
    labels = np.column_stack([train.labels[:, 0], np.zeros(60)])
    found = linear_probe(FeatureSplit(train.features, labels), validation, test.features, ProbeConfig())
    assert (found.test_scores[:, 1] == 0).all()


def test_tuning_can_be_shared_or_per_label() -> None:
    table = np.array([[0.9, 0.5, np.nan], [0.7, 0.8, np.nan]])
    assert choose_row(table, shared=True).tolist() == [1, 1, 1]
    assert choose_row(table, shared=False).tolist() == [0, 1, 1]
    assert choose_row(np.full((2, 2), np.nan), shared=True).tolist() == [0, 0]


@pytest.mark.parametrize("tuning", ["shared", "per_label"])
def test_the_tuning_table_covers_the_grid(tuning: str) -> None:
    config = ProbeConfig.model_validate({"c_grid": (0.01, 1.0), "tuning": tuning})
    found = linear_probe(_part(0, 60), _part(1, 30), _part(2, 20).features, config)
    assert found.validation_auc.shape == (2, 2)
    assert set(found.chosen_c) <= {0.01, 1.0}
