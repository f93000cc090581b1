"""Learning-rate schedules as a factor on every group's own rate; their state is plain numbers in the checkpoint."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from crossray.training.config import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    PeriodicCosineScheduleConfig,
    PlateauScheduleConfig,
    ScheduleConfig,
    StepScheduleConfig,
    WarmRestartsScheduleConfig,
    WarmUpConfig,
)


def warmup_factor(step: int, warmup_steps: int, start: float | None = None) -> float:
    """Linear from ``start`` (``1 / warmup_steps``, if not given) at step 0 to 1 at step ``warmup_steps - 1``."""
    if step >= warmup_steps - 1:
        return 1.0
    if start is None:
        return (step + 1) / warmup_steps
    return start + (1.0 - start) * step / (warmup_steps - 1)


def half_cosine(progress: float, final_factor: float) -> float:
    """From 1 at progress 0 to ``final_factor`` at 1 (and back to 1 at 2)."""
    return final_factor + (1 - final_factor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass
class Plateau:
    """Lowers the factor when a figure (lower is better) has not improved for more than ``patience`` validations."""

    factor: float
    patience: int
    best: float = math.inf
    waited: int = 0
    reached: float = 1.0

    def observe(self, value: float) -> None:
        """Take note of one validation."""
        if value < self.best:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.reached *= self.factor
            self.waited = 0


class Schedule:
    """The factor on the learning rates at every step of a run, or of one stage of it.

    Args:
        config: which schedule.
        epoch_steps: the steps of each epoch; epochs with auxiliary tasks differ in length.
    """

    def __init__(self, config: ScheduleConfig, epoch_steps: Sequence[int]) -> None:
        self._config = config
        self._ends = list(accumulate(epoch_steps))
        self._total = self._ends[-1]
        self._warmup = self._warmup_steps(config) if isinstance(config, WarmUpConfig) else 0
        self._start = config.warmup_start if isinstance(config, WarmUpConfig) else None
        self._plateau = Plateau(config.factor, config.patience) if isinstance(config, PlateauScheduleConfig) else None

    def factor(self, step: int) -> float:
        """The factor of step ``step`` (from 0)."""
        return warmup_factor(step, self._warmup, self._start) * self._after_warmup(step)

    def _after_warmup(self, step: int) -> float:
        match self._config:
            case CosineScheduleConfig(final_factor=final):
                progress = (step - self._warmup) / max(1, self._total - self._warmup)
                return half_cosine(min(max(progress, 0.0), 1.0), final)
            case ConstantScheduleConfig():
                return 1.0
            case StepScheduleConfig(milestones=milestones, factor=factor):
                return factor ** sum(self._epochs_at(step) >= milestone for milestone in milestones)
            case PlateauScheduleConfig():
                return self._plateau.reached if self._plateau else 1.0
            case PeriodicCosineScheduleConfig(period=period, final_factor=final):
                return half_cosine(self._epochs_at(step) / period, final)
            case WarmRestartsScheduleConfig(period=period, final_factor=final):
                return half_cosine(self._epochs_at(step) / period % 1.0, final)

    def _epochs_at(self, step: int) -> float:
        """Epochs gone by at a step, a fraction inside an epoch: epochs may differ in length."""
        epoch = min(bisect_right(self._ends, step), len(self._ends) - 1)
        start = self._ends[epoch - 1] if epoch else 0
        return epoch + (step - start) / (self._ends[epoch] - start)

    def _warmup_steps(self, config: WarmUpConfig) -> int:
        if config.warmup_epochs is None:
            return round(config.warmup_fraction * self._total)
        whole = min(int(config.warmup_epochs), len(self._ends))
        before = self._ends[whole - 1] if whole else 0
        following = self._ends[whole] - before if whole < len(self._ends) else 0
        return before + round((config.warmup_epochs - whole) * following)

    def observe(self, value: float) -> None:
        """Tell the schedule the selection metric of a validation, signed so that lower is better."""
        if self._plateau is not None:
            self._plateau.observe(value)

    def state(self) -> dict[str, float]:
        """What must be saved."""
        if self._plateau is None:
            return {}
        return {"best": self._plateau.best, "waited": self._plateau.waited, "reached": self._plateau.reached}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a saved state."""
        if self._plateau is not None:
            self._plateau.best = state["best"]
            self._plateau.waited = int(state["waited"])
            self._plateau.reached = state["reached"]
