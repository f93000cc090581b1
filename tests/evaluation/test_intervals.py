"""Patients are drawn whole, draws depend on seed and fold alone, and the interval covers what it should."""

from __future__ import annotations

import numpy as np

from crossray.evaluation.intervals import bootstrap_weights, clusters, percentile_interval
from crossray.evaluation.metrics import weighted_mean


def test_rows_of_one_patient_are_drawn_together() -> None:
    weights = bootstrap_weights(["a", "b", "a", None, None], draws=200, seed=0)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    assert (weights[:, 3] != weights[:, 4]).any()


def test_every_draw_draws_as_many_patients_as_there_are() -> None:
    weights = bootstrap_weights(["a", "b", "a", "c"], draws=100, seed=0)
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)


def test_unknown_patients_never_join_a_patient_of_that_name() -> None:
    assert len(set(clusters(["row:1", None, "1", None]).tolist())) == 4


def test_draws_depend_on_the_seed_and_the_fold_only() -> None:
    patients = [f"p{i}" for i in range(20)]
    first = bootstrap_weights(patients, draws=10, seed=1, stratum="fold0")
    np.testing.assert_array_equal(first, bootstrap_weights(patients, draws=10, seed=1, stratum="fold0"))
    assert (first != bootstrap_weights(patients, draws=10, seed=1, stratum="fold1")).any()
    assert (first != bootstrap_weights(patients, draws=10, seed=2, stratum="fold0")).any()


def test_the_interval_of_a_mean_has_about_the_width_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=400)
    draws = weighted_mean(values, bootstrap_weights([None] * 400, draws=2000, seed=0))
    interval = percentile_interval(float(values.mean()), draws)
    theory = 2 * 1.96 * values.std() / np.sqrt(400)
    assert abs((interval.high - interval.low) / theory - 1) < 0.1
    assert interval.low < interval.estimate < interval.high


def test_undefined_draws_are_left_out_and_counted() -> None:
    interval = percentile_interval(0.5, np.array([0.4, np.nan, 0.6]))
    assert interval.undefined_draws == 1
    assert 0.4 <= interval.low <= interval.high <= 0.6
    assert np.isnan(percentile_interval(0.5, np.array([np.nan])).low)
