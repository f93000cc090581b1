"""When a run changes: its stages one after the other, and the steps of every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossray.errors import ConfigError
from crossray.methods.base import Method
from crossray.training.config import OptimizerConfig, ScheduleConfig, TrainingConfig


@dataclass(frozen=True)
class Stage:
    """A stretch of epochs with one optimiser and one schedule: a whole run, or a stage of it.

    Attributes:
        name: of the method's stage; ``None`` for a method whose objective never changes.
        first_epoch: counted from 0 over the whole run.
        epoch_steps: the steps of each of its epochs.
        optimizer: as the stage's own configuration or the run's says.
        schedule: likewise; it runs over this stage's own steps.
    """

    name: str | None
    first_epoch: int
    epoch_steps: tuple[int, ...]
    optimizer: OptimizerConfig
    schedule: ScheduleConfig

    @property
    def end_epoch(self) -> int:
        """The epoch after its last one."""
        return self.first_epoch + len(self.epoch_steps)


@dataclass(frozen=True)
class Timeline:
    """The stages of a run in their order; at least one."""

    stages: tuple[Stage, ...]

    def at(self, epoch: int) -> Stage:
        """The stage that an epoch belongs to; after the end of the run, the last one."""
        return next((stage for stage in self.stages if epoch < stage.end_epoch), self.stages[-1])

    def after(self, stage: Stage) -> Stage | None:
        """The stage that follows, if there is one."""
        return next((other for other in self.stages if other.first_epoch >= stage.end_epoch), None)

    def steps_of(self, epoch: int) -> int:
        """The steps of an epoch of the run."""
        stage = self.at(epoch)
        return stage.epoch_steps[epoch - stage.first_epoch]

    @property
    def total_steps(self) -> int:
        """The steps of a run that is not stopped early."""
        return sum(sum(stage.epoch_steps) for stage in self.stages)


def plan_run(method: Method, config: TrainingConfig, epoch_steps: Sequence[int]) -> Timeline:
    """The timeline of a run whose epochs have so many steps.

    Raises:
        ConfigError: ``training.stages`` does not name stages of the method, in their order.
    """
    _require_stages(method, config)
    if not config.stages:
        return Timeline((Stage(None, 0, tuple(epoch_steps), config.optimizer, config.schedule),))
    stages: list[Stage] = []
    for stage in config.stages:
        first = stages[-1].end_epoch if stages else 0
        stages.append(
            Stage(
                name=stage.name,
                first_epoch=first,
                epoch_steps=tuple(epoch_steps[first : first + stage.epochs]),
                optimizer=stage.optimizer or config.optimizer,
                schedule=stage.schedule or config.schedule,
            )
        )
    return Timeline(tuple(stages))


def _require_stages(method: Method, config: TrainingConfig) -> None:
    names = [stage.name for stage in config.stages]
    if not method.stages:
        if names:
            raise ConfigError(
                f"the objective of {method.name} has no stages.",
                field="training.stages",
                remedy="Leave training.stages out and set training.epochs.",
            )
        return
    if not names:
        written = ", ".join(f"{{name: {name}, epochs: 10}}" for name in method.stages)
        raise ConfigError(
            f"{method.name} trains in stages, and the recipe does not say how long each is.",
            field="training.stages",
            remedy=f"Write for example training.stages: [{written}].",
        )
    in_order = [name for name in method.stages if name in names]
    if names != in_order:
        raise ConfigError(
            f"{', '.join(names)} are not stages of {method.name} in their order.",
            field="training.stages",
            remedy=f"They are {', '.join(method.stages)}; some may be left out.",
        )
