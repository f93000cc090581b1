from __future__ import annotations

from itertools import pairwise

import pytest

from crossray.training.config import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    PlateauScheduleConfig,
    ScheduleConfig,
)
from crossray.training.schedules import Schedule


def factors(config: ScheduleConfig, steps: int = 100) -> list[float]:
    schedule = Schedule(config, steps)
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
    schedule = Schedule(PlateauScheduleConfig(factor=0.5, patience=2), 100)
    reached = []
    for value in (1.0, 0.9, 0.95, 0.9, 0.91, 0.99, 0.99, 0.99, 0.1, 0.2):
        schedule.observe(value)
        reached.append(schedule.factor(50))
    assert reached == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_a_restored_plateau_goes_on_where_it_was() -> None:
    config = PlateauScheduleConfig(factor=0.5, patience=1)
    one = Schedule(config, 10)
    for value in (1.0, 2.0):
        one.observe(value)
    two = Schedule(config, 10)
    two.restore(one.state())
    for schedule in (one, two):
        schedule.observe(2.0)
    assert one.factor(3) == two.factor(3) == 0.5
