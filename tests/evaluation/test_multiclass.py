"""Measures of one class of several against scikit-learn, and a draw against the films written out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, cohen_kappa_score, precision_recall_fscore_support

from crossray.evaluation.classification.multiclass import called_class, confusion, multiclass_measures
from crossray.evaluation.intervals import bootstrap_weights


def _films(n: int = 80, classes: int = 5) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Called and true classes; the last class is never called."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, classes, n)
    called = np.where(generator.random(n) < 0.5, truth, generator.integers(0, classes, n)) % (classes - 1)
    return called, truth


def _by_scikit_learn(called: NDArray[np.int64], truth: NDArray[np.int64], classes: int = 5) -> dict[str, float]:
    labels = np.arange(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, called, labels=labels, average="macro", zero_division=0
        )
    return {
        "accuracy": accuracy_score(truth, called),
        "macro precision": precision,
        "macro recall": recall,
        "macro F1": f1,
        "Cohen's kappa": cohen_kappa_score(truth, called, labels=labels),
    }


def test_measures_equal_those_of_scikit_learn_also_with_a_class_never_called() -> None:
    called, truth = _films()
    found = multiclass_measures(confusion(called, truth, 5))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(_by_scikit_learn(called, truth))
    assert (called != 4).all()


def test_a_draw_of_patients_equals_the_films_written_out_as_often() -> None:
    called, truth = _films()
    weights = bootstrap_weights([f"p{row // 2}" for row in range(80)], draws=10, seed=0)
    found = multiclass_measures(confusion(called, truth, 5, weights))
    for draw, copies in enumerate(weights.astype(np.int64)):
        rows = np.repeat(np.arange(80), copies)
        expected = _by_scikit_learn(called[rows], truth[rows])
        assert {name: values[draw] for name, values in found.items()} == pytest.approx(expected)


def test_always_calling_one_class_of_five_equal_ones_has_no_kappa() -> None:
    truth = np.repeat(np.arange(5), 200)
    found = multiclass_measures(confusion(np.zeros(1000, dtype=np.int64), truth, 5))
    assert found["accuracy"].item() == pytest.approx(0.2)
    assert found["Cohen's kappa"].item() == pytest.approx(0.0)
    everything = confusion(np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64), 5)
    assert np.isnan(multiclass_measures(everything)["Cohen's kappa"]).all()


def test_the_highest_score_is_called_and_of_equal_ones_the_first() -> None:
    np.testing.assert_array_equal(called_class(np.array([[0.0, 2, 1], [1, 1, 0]])), [1, 0])
    with pytest.raises(ValueError, match="NaN"):
        called_class(np.array([[np.nan, 1.0]]))
    with pytest.raises(ValueError, match="outside"):
        confusion(np.array([5]), np.array([0]), 5)
