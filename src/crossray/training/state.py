"""The state of a run: what changes while it trains, in one place, saved and restored as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from crossray.training.schedules import Schedule

STATE_FILE = "state.safetensors"


@dataclass
class Place:
    """Where a run is.

    ``step`` counts finished optimiser steps, ``epoch`` and ``batch`` (from 0) name the next one. ``best`` is the best
    selection figure so far with its step, ``waited`` the validations since. ``finished`` says why there is no more.
    """

    step: int = 0
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


@dataclass
class TrainingState:
    """Model, optimiser and all that goes with them."""

    method: Method
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    average: MovingAverage | None
    place: Place = field(default_factory=Place)

    @classmethod
    def start(cls, method: Method, config: TrainingConfig, epoch_steps: Sequence[int]) -> TrainingState:
        """The state before the first step (the model already on its device)."""
        return cls(
            method=method,
            optimizer=build_optimizer(method, config.optimizer, fused=config.precision != "16-mixed"),
            schedule=Schedule(config.schedule, epoch_steps),
            average=MovingAverage(method, config.ema_decay) if config.ema_decay is not None else None,
        )

    def save(self, folder: Path, fabric: Fabric, identity: str) -> None:
        """Write ``state.safetensors`` (the first process does)."""
        if not fabric.is_global_zero:
            return
        average = self.average.average if self.average is not None else None
        tensors, optimizer = state_tensors(self.method, self.optimizer, average)
        facts = {
            "kind": "crossray training state",
            "identity": identity,
            "place": asdict(self.place),
            "schedule": self.schedule.state(),
            "optimizer": optimizer,
            "precision": _plain(fabric.strategy.precision.state_dict()),
        }
        write_tensors(folder / STATE_FILE, tensors, facts)

    def resume(self, folder: Path, fabric: Fabric, identity: str) -> None:
        """Go on from ``state.safetensors``.

        Raises:
            CheckpointError: it is damaged, or of a run with another configuration or other data.
        """
        path = folder / STATE_FILE
        tensors, facts = read_tensors(path)
        if facts["identity"] != identity:
            raise CheckpointError(
                "belongs to a run with another configuration, split or store.",
                file=path,
                remedy="Choose another output folder.",
            )
        average = restore_state(tensors, facts["optimizer"], self.method, self.optimizer)
        if self.average is not None:
            self.average.restore(average)
        self.schedule.restore(facts["schedule"])
        fabric.strategy.precision.load_state_dict(facts["precision"])
        self.place = Place(**facts["place"])

    def write_weights(self, path: Path, fabric: Fabric, figures: Mapping[str, float]) -> None:
        """Write the weights for inference: the averaged ones, if the run keeps an average."""
        if not fabric.is_global_zero:
            return
        weights = dict(self.method.state_dict())
        if self.average is not None:
            weights |= self.average.average
        facts = {
            "kind": "crossray weights",
            "step": self.place.step,
            "epoch": self.place.epoch,
            "figures": dict(figures),
        }
        write_tensors(path, weights, facts)


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A loss scaler's state as JSON values."""
    return {name: value.item() if isinstance(value, torch.Tensor) else value for name, value in state.items()}
