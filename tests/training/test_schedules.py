from __future__ import annotations

from itertools import pairwise

import pytest

from crossray.training.config import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    PeriodicCosineScheduleConfig,
    PlateauScheduleConfig,
    ScheduleConfig,
    StepScheduleConfig,
    WarmRestartsScheduleConfig,
)
from crossray.training.schedules import Schedule


def factors(config: ScheduleConfig, steps: int = 100) -> list[float]:
    schedule = Schedule(config, [steps])
    return [schedule.factor(step) for step in range(steps)]


def test_warm_up_is_linear_and_reaches_one() -> None:
    rising = factors(ConstantScheduleConfig(warmup_fraction=0.1))
    assert rising[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert set(rising[10:]) == {1.0}


def test_cosine_falls_from_one_through_the_middle_towards_its_end() -> None:
    falling = factors(CosineScheduleConfig(warmup_fraction=0.2, final_factor=0.1))
    assert falling[20] == 1.0
    assert falling[60] == pytest.approx(0.55)
    assert all(later < earlier for earlier, later in pairwise(falling[20:]))
    assert 0.1 < falling[-1] < 0.102


def test_plateau_waits_its_patience_then_lowers_and_starts_to_wait_again() -> None:
    schedule = Schedule(PlateauScheduleConfig(factor=0.5, patience=2), [100])
    reached = []
    for value in (1.0, 0.9, 0.95, 0.9, 0.91, 0.99, 0.99, 0.99, 0.1, 0.2):
        schedule.observe(value)
        reached.append(schedule.factor(50))
    assert reached == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_a_restored_plateau_goes_on_where_it_was() -> None:
    config = PlateauScheduleConfig(factor=0.5, patience=1)
    one = Schedule(config, [10])
    for value in (1.0, 2.0):
        one.observe(value)
    two = Schedule(config, [10])
    two.restore(one.state())
    for schedule in (one, two):
        schedule.observe(2.0)
    assert one.factor(3) == two.factor(3) == 0.5


def test_L10_the_periodic_cosine_falls_for_an_epoch_and_rises_for_the_next() -> None:
    schedule = Schedule(PeriodicCosineScheduleConfig(), [4, 4, 4])
    rates = [1e-4 * schedule.factor(step) for step in range(9)]
    wave = [1, 0.8536, 0.5, 0.1464, 0, 0.1464, 0.5, 0.8536, 1]
    assert rates == pytest.approx([1e-4 * value for value in wave], abs=1e-8)


def test_warm_restarts_fall_and_begin_anew() -> None:
    schedule = Schedule(WarmRestartsScheduleConfig(period=2, final_factor=0.2), [2, 2, 2, 2])
    factors_of = [schedule.factor(step) for step in range(8)]
    assert factors_of[:4] == pytest.approx(factors_of[4:])
    assert factors_of[0] == 1.0
    assert factors_of[2] == pytest.approx(0.6)
    assert min(factors_of) > 0.2


@pytest.mark.parametrize(("peak", "start", "epochs", "warm_up"), [(1e-5, 1e-7, 20, 1), (5e-6, 1e-8, 100, 5)])
def test_check_12_warm_up_from_a_start_rate_then_a_cosine_to_zero(
    peak: float, start: float, epochs: int, warm_up: int
) -> None:
    config = CosineScheduleConfig(warmup_epochs=warm_up, warmup_start=start / peak)
    schedule = Schedule(config, [310] * epochs)
    rising, total = 310 * warm_up, 310 * epochs
    assert peak * schedule.factor(0) == pytest.approx(start)
    assert peak * schedule.factor(rising - 1) == pytest.approx(peak)
    assert peak * schedule.factor(rising + (total - rising) // 2) == pytest.approx(peak / 2)
    assert schedule.factor(total) == schedule.factor(total + 50) == pytest.approx(0.0, abs=1e-12)


def test_milestones_count_epochs_even_where_epochs_differ_in_length() -> None:
    schedule = Schedule(StepScheduleConfig(milestones=(1, 3)), [3, 5, 2, 4])
    assert [schedule.factor(step) for step in range(14)] == pytest.approx([1] * 3 + [0.1] * 7 + [0.01] * 4)


def test_a_warm_up_may_end_inside_an_epoch_and_may_outlast_a_short_run() -> None:
    half = Schedule(ConstantScheduleConfig(warmup_epochs=1.5), [4, 8])
    assert [half.factor(step) for step in range(12)] == pytest.approx([*(k / 8 for k in range(1, 9)), 1, 1, 1, 1])
    long = Schedule(ConstantScheduleConfig(warmup_epochs=9), [4, 4])
    assert [long.factor(step) for step in range(8)] == pytest.approx([k / 8 for k in range(1, 9)])
