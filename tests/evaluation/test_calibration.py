"""Calibration against loops and scikit-learn, scalings against a fine search and logistic regression."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import brier_score_loss, log_loss

from crossray.errors import DataError
from crossray.evaluation.calibration import Binning, bin_edges, brier, expected_calibration_error, reliability
from crossray.evaluation.intervals import bootstrap_weights
from crossray.evaluation.metrics import FloatArray, auroc
from crossray.evaluation.scaling import fit_platt, fit_temperature

BINNINGS: list[Binning] = ["equal_width", "equal_mass"]


def _films(n: int = 300, sharpness: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """Probabilities ``[n]`` and labels drawn from them; a sharpness above 1 makes the probabilities too sure."""
    generator = np.random.default_rng(0)
    true = generator.uniform(0.02, 0.98, n)
    labels = (generator.random(n) < true).astype(np.float64)
    return expit(sharpness * logit(true)), labels


def _error_by_hand(probabilities: FloatArray, labels: FloatArray, edges: FloatArray) -> float:
    total = 0.0
    for low, high in pairwise(edges.tolist()):
        first = low == edges[0]
        own = [
            (p, y)
            for p, y in zip(probabilities, labels, strict=True)
            if (low < p or (first and low <= p)) and p <= high
        ]
        if own:
            total += len(own) / len(labels) * abs(np.mean([p for p, _ in own]) - np.mean([y for _, y in own]))
    return total


@pytest.mark.parametrize("binning", BINNINGS)
def test_the_error_equals_a_loop_over_bins(binning: Binning) -> None:
    probabilities, labels = _films(sharpness=2.0)
    edges = bin_edges(probabilities, 10, binning)
    found = expected_calibration_error(probabilities, labels, edges).item()
    assert found == pytest.approx(_error_by_hand(probabilities, labels, edges), abs=1e-12)


@pytest.mark.parametrize(("binning", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
def test_the_curve_is_that_of_scikit_learn(binning: Binning, strategy: str) -> None:
    probabilities, labels = _films()
    curve = reliability(probabilities, labels, bin_edges(probabilities, 10, binning))
    frequency, mean = calibration_curve(labels, probabilities, n_bins=10, strategy=strategy)
    np.testing.assert_allclose(curve.frequency, frequency)
    np.testing.assert_allclose(curve.probability, mean)
    assert curve.count.sum() == 300


def test_brier_is_that_of_scikit_learn() -> None:
    probabilities, labels = _films()
    assert brier(probabilities, labels).item() == pytest.approx(brier_score_loss(labels, probabilities))


@pytest.mark.parametrize("binning", BINNINGS)
def test_a_draw_of_patients_equals_the_films_written_out_as_often(binning: Binning) -> None:
    probabilities, labels = _films(n=60)
    weights = bootstrap_weights([f"p{row // 2}" for row in range(60)], draws=10, seed=0)
    edges = bin_edges(probabilities, 5, binning)
    errors, squares = (
        expected_calibration_error(probabilities, labels, edges, weights),
        brier(probabilities, labels, weights),
    )
    for draw, copies in enumerate(weights.astype(np.int64)):
        rows = np.repeat(np.arange(60), copies)
        assert errors[draw] == pytest.approx(
            expected_calibration_error(probabilities[rows], labels[rows], edges).item()
        )
        assert squares[draw] == pytest.approx(brier(probabilities[rows], labels[rows]).item())


def test_rows_of_unknown_label_change_nothing() -> None:
    probabilities, labels = _films()
    more, unknown = np.append(probabilities, [0.5, 0.9]), np.append(labels, [np.nan, np.nan])
    edges = bin_edges(probabilities)
    for score in (brier, lambda p, y: expected_calibration_error(p, y, edges)):
        assert score(more, unknown).item() == pytest.approx(score(probabilities, labels).item(), abs=1e-15)


def test_sure_and_right_has_no_error_and_both_ends_have_a_bin() -> None:
    labels = np.array([0.0, 1.0, 1.0])
    assert expected_calibration_error(labels, labels, bin_edges(labels)).item() == 0
    np.testing.assert_array_equal(reliability(labels, labels, bin_edges(labels)).count, [1, 2])


def test_the_temperature_undoes_probabilities_that_are_too_sure() -> None:
    probabilities, labels = _films(n=4000, sharpness=3.0)
    scaling = fit_temperature(logit(probabilities), labels)
    assert scaling.temperature == pytest.approx(3.0, rel=0.1)
    assert scaling.offset == 0
    edges = bin_edges(probabilities)
    before = expected_calibration_error(probabilities, labels, edges).item()
    after = expected_calibration_error(scaling.probabilities(logit(probabilities)), labels, edges).item()
    assert after < before / 3


def test_the_temperature_is_the_best_of_a_fine_search() -> None:
    probabilities, labels = _films(sharpness=2.0)
    scores = logit(probabilities)
    found = log_loss(labels, fit_temperature(scores, labels).probabilities(scores))
    assert found <= min(log_loss(labels, expit(scores / t)) for t in np.geomspace(0.05, 20, 400)) + 1e-9


@pytest.mark.parametrize("scale", [1.0, 1e-3, 500.0])
def test_platt_finds_where_its_gradient_is_0_whatever_the_scale_of_scores(scale: float) -> None:
    probabilities, labels = _films(sharpness=2.0)
    scores = scale * (logit(probabilities) + 7)
    scaling = fit_platt(scores, labels)
    positives, negatives = labels.sum(), (1 - labels).sum()
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    error = scaling.probabilities(scores) - targets
    assert abs(error.mean()) < 1e-6
    assert abs((error * scores / scale).mean()) < 1e-5


def test_platt_is_that_of_scikit_learn() -> None:
    class Score(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        """A classifier whose decision is its input."""

        def fit(self, scores: FloatArray, labels: FloatArray) -> Score:
            self.classes_ = np.unique(labels)
            return self

        def decision_function(self, scores: FloatArray) -> FloatArray:
            return scores[:, 0]

        def predict(self, scores: FloatArray) -> FloatArray:  # asked for, though it plays no part
            return (scores[:, 0] > 0).astype(np.float64)

    probabilities, labels = _films(sharpness=2.0)
    scores = 0.1 * logit(probabilities) - 0.3  # as small as a difference of cosines
    theirs = CalibratedClassifierCV(FrozenEstimator(Score().fit(scores[:, None], labels)), method="sigmoid")
    theirs.fit(scores[:, None], labels)
    ours = fit_platt(scores, labels).probabilities(scores)
    np.testing.assert_allclose(ours, theirs.predict_proba(scores[:, None])[:, 1], atol=1e-5)


def test_platt_has_a_line_for_validation_that_is_parted_without_error() -> None:
    scores, labels = np.array([-1.0, -2.0, 1.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0])
    scaling = fit_platt(scores, labels)
    assert 0 < scaling.slope < 100
    assert fit_temperature(scores, labels).slope <= 1001


def test_scalings_keep_the_order_of_films() -> None:
    probabilities, labels = _films()
    scores = logit(probabilities)
    for fit in (fit_temperature, fit_platt):
        np.testing.assert_allclose(auroc(fit(scores, labels).probabilities(scores), labels), auroc(scores, labels))


def test_one_class_and_scores_that_are_no_probabilities_are_refused() -> None:
    for fit in (fit_temperature, fit_platt):
        with pytest.raises(DataError, match="one class only"):
            fit(np.zeros(3), np.array([1.0, 1.0, np.nan]))
    for bad in (1.2, np.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            brier(np.array([bad]), np.array([1.0]))


def test_the_error_of_perfect_probabilities_is_above_0_and_that_of_its_draws_higher_still() -> None:
    probabilities, labels = _films(n=200)
    edges = bin_edges(probabilities)
    estimate = expected_calibration_error(probabilities, labels, edges).item()
    weights = bootstrap_weights([None] * 200, draws=200, seed=0)
    draws = expected_calibration_error(probabilities, labels, edges, weights)
    assert estimate > 0.03
    assert draws.mean() > estimate + 0.01
