"""Learning-rate schedules as a factor on every group's own rate; their state is plain numbers in the checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass

from crossray.training.config import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    PlateauScheduleConfig,
    ScheduleConfig,
)


def warmup_factor(step: int, warmup_steps: int) -> float:
    """Linear from ``1 / warmup_steps`` at step 0 to 1."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def cosine_factor(step: int, warmup_steps: int, total_steps: int, final_factor: float) -> float:
    """Warm-up, then half a cosine from 1 to ``final_factor``, which the step after the last one would have."""
    if step < warmup_steps:
        return warmup_factor(step, warmup_steps)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return final_factor + (1 - final_factor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


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
    """The factor on the learning rates at every step of a run of ``total_steps``."""

    def __init__(self, config: ScheduleConfig, total_steps: int) -> None:
        self._config = config
        self._total = total_steps
        self._warmup = round(config.warmup_fraction * total_steps)
        self._plateau = Plateau(config.factor, config.patience) if isinstance(config, PlateauScheduleConfig) else None

    def factor(self, step: int) -> float:
        """The factor of step ``step`` (from 0)."""
        match self._config:
            case CosineScheduleConfig(final_factor=final):
                return cosine_factor(step, self._warmup, self._total, final)
            case ConstantScheduleConfig():
                return warmup_factor(step, self._warmup)
            case PlateauScheduleConfig():
                reached = self._plateau.reached if self._plateau else 1.0
                return warmup_factor(step, self._warmup) * reached

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
