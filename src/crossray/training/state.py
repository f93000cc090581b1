"""The state of a run: what changes while it trains, in one place, saved and restored as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from crossray.errors import CheckpointError
from crossray.methods.base import Method
from crossray.tensor_file import read_tensors, write_tensors
from crossray.training.checkpoint import restore_state, state_tensors
from crossray.training.config import SelectionConfig, TrainingConfig
from crossray.training.ema import MovingAverage
from crossray.training.optimizers import build_optimizer
from crossray.training.processes import is_of_the_network
from crossray.training.schedules import Schedule
from crossray.training.sharding import put_together_on_host
from crossray.training.timeline import Stage, Timeline

STATE_FILE = "state.safetensors"


@dataclass
class Place:
    """Where a run is.

    ``step`` counts finished optimiser steps, ``stage_step`` those of the stage, ``epoch`` and ``batch`` (from 0) name
    the next one. ``best`` is the stage's best selection figure so far with its step, ``waited`` the validations since.
    ``finished`` says why there is no more.
    """

    step: int = 0
    stage_step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
    best_step: int = 0
    waited: int = 0
    finished: str | None = None

    def note(self, value: float, selection: SelectionConfig) -> bool:
        """Take in one validation's selection figure; whether it is the best so far."""
        better = self.best is None or (value < self.best if selection.goal == "min" else value > self.best)
        if better:
            self.best, self.best_step, self.waited = value, self.step, 0
        else:
            self.waited += 1
        return better

    def enter(self, stage: Stage) -> None:
        """Stand at the beginning of a stage: nothing is the best yet."""
        self.epoch, self.batch, self.stage_step = stage.first_epoch, 0, 0
        self.best, self.best_step, self.waited = None, 0, 0


@dataclass
class TrainingState:
    """Model, optimiser and all that goes with them."""

    method: Method
    stage: Stage
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    average: MovingAverage | None
    place: Place = field(default_factory=Place)

    @classmethod
    def start(cls, method: Method, config: TrainingConfig, stage: Stage) -> TrainingState:
        """The state before a stage's first step (the model already on its device)."""
        optimizer, schedule = _begin(method, config, stage)
        average = MovingAverage(method, config.ema_decay) if config.ema_decay is not None else None
        return cls(method, stage, optimizer, schedule, average)

    def enter(self, stage: Stage, config: TrainingConfig) -> None:
        """Go over to another stage: its own optimiser, moments and schedule. The averaged weights go on."""
        self.optimizer, self.schedule = _begin(self.method, config, stage)
        self.stage = stage
        self.place.enter(stage)

    def save(self, folder: Path, fabric: Fabric, identity: str) -> None:
        """Write ``state.safetensors`` (the first process does; all must call it)."""
        average = self.average.average if self.average is not None else None
        tensors, optimizer = state_tensors(self.method, self.optimizer, average)
        tensors = put_together_on_host(tensors, keep=fabric.is_global_zero)
        if not fabric.is_global_zero:
            return
        facts = {
            "kind": "crossray training state",
            "identity": identity,
            "place": asdict(self.place),
            "schedule": self.schedule.state(),
            "optimizer": optimizer,
            "precision": _plain(fabric.strategy.precision.state_dict()),
        }
        write_tensors(folder / STATE_FILE, tensors, facts)

    @classmethod
    def resume(
        cls, method: Method, config: TrainingConfig, timeline: Timeline, folder: Path, fabric: Fabric, identity: str
    ) -> TrainingState:
        """Go on from ``state.safetensors``.

        Raises:
            CheckpointError: it is damaged, or of a run with another configuration or other data.
        """
        path = folder / STATE_FILE
        tensors, facts = read_tensors(path)
        if facts.get("identity") != identity:
            raise CheckpointError(
                "belongs to a run with another configuration, split or store.",
                file=path,
                remedy="Choose another output folder.",
            )
        try:
            place = Place(**facts["place"])
            state = cls.start(method, config, timeline.at(place.epoch))
            state.place = place
            average = restore_state(tensors, facts["optimizer"], method, state.optimizer)
            if state.average is not None:
                state.average.restore(average)
            state.schedule.restore(facts["schedule"])
            fabric.strategy.precision.load_state_dict(facts["precision"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
            if isinstance(error, torch.OutOfMemoryError) or is_of_the_network(error):
                raise  # not the file's fault, which is not to be deleted for it
            # Whole by its seal, which anybody can make: a file that was written by other means than ours.
            raise CheckpointError(
                f"holds no state that can be gone on from ({type(error).__name__}: {error}).",
                file=path,
                remedy="Put back a copy, or delete the whole folder of checkpoints and train from the beginning.",
            ) from error
        return state

    def write_weights(self, path: Path, fabric: Fabric, figures: Mapping[str, float]) -> None:
        """Write the weights for inference: the averaged ones, if the run keeps an average. All must call it."""
        weights = dict(self.method.state_dict())
        if self.average is not None:
            weights |= self.average.average
        weights = put_together_on_host(weights, keep=fabric.is_global_zero)
        if not fabric.is_global_zero:
            return
        facts = {
            "kind": "crossray weights",
            "step": self.place.step,
            "epoch": self.place.epoch,
            "figures": dict(figures),
        }
        write_tensors(path, weights, facts)


def _begin(method: Method, config: TrainingConfig, stage: Stage) -> tuple[torch.optim.Optimizer, Schedule]:
    """A stage's optimiser, over whatever the stage trains, and its schedule."""
    if stage.name is not None:
        method.enter_stage(stage.name)
    optimizer = build_optimizer(method, stage.optimizer, fused=config.precision != "16-mixed")
    return optimizer, Schedule(stage.schedule, stage.epoch_steps)


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A loss scaler's state as JSON values."""
    return {name: value.item() if isinstance(value, torch.Tensor) else value for name, value in state.items()}
