"""LoVT's ± against its formula by hand, and what it covers."""

from __future__ import annotations

from statistics import mean, stdev

import numpy as np
import pytest

from crossray.evaluation.runs_interval import runs_interval


def test_the_half_width_of_five_runs_is_the_published_formula() -> None:
    values = [0.161, 0.169, 0.158, 0.172, 0.160]
    found = runs_interval(values)
    assert found.mean == pytest.approx(mean(values))
    assert found.half_width == pytest.approx(1.96 * stdev(values) / 5**0.5)
    assert str(found) == "0.164 ± 0.005 (5 runs)"


def test_runs_that_repeat_are_told() -> None:
    assert runs_interval([0.1, 0.1, 0.1, 0.2, 0.2]).distinct == 2
    assert runs_interval([0.1] * 5).half_width == pytest.approx(0.0, abs=1e-15)


def test_it_covers_the_mean_less_often_than_95_percent_as_196_is_no_quantile_of_four_degrees_of_freedom() -> None:
    generator = np.random.default_rng(0)
    found = [runs_interval(generator.normal(size=5).tolist()) for _ in range(4000)]
    covered = np.mean([abs(each.mean) <= each.half_width for each in found])
    assert 0.85 < covered < 0.90


def test_a_single_run_and_nan_are_refused() -> None:
    for values in ([0.5], [0.5, float("nan")]):
        with pytest.raises(ValueError, match="two values or more"):
            runs_interval(values)
