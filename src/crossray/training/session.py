"""What stays the same while a run lasts: its parts, its clock, and the account it gives at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning_fabric import Fabric

from crossray.data.augment import ImageInputConfig
from crossray.data.block_order import BlockOrder
from crossray.data.pairs import PairDataset
from crossray.data.tasks import plan_epoch
from crossray.errors import ConfigError
from crossray.methods.base import Gather, Method
from crossray.training.config import RuntimeConfig, TrainingConfig
from crossray.training.logs import RunLog
from crossray.training.profiling import StepProfiler
from crossray.training.signals import StopSignals
from crossray.training.state import TrainingState
from crossray.training.timeline import Timeline


@dataclass(frozen=True)
class TrainingParts:
    """What is trained, on what: built from a recipe by ``training.pretrain``, or by a test.

    Without an ``order`` an epoch permutes all training pairs.
    """

    method: Method
    training: PairDataset
    validation: PairDataset
    image: ImageInputConfig
    order: BlockOrder | None = None


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    ``outcome`` is ``finished``, ``stopped early`` or ``interrupted`` (``signal`` says by what; it can be resumed).
    ``best`` is the selection metric's best value, at ``best_step``; ``pairs_per_second`` is of this session.
    ``left_out`` counts studies of the split that make no pair; ``left_out.csv`` in the folder lists them.
    ``first_process`` is false on all processes but one, for what is to be told once.
    """

    folder: Path
    outcome: Literal["finished", "stopped early", "interrupted"]
    steps: int
    epochs: int
    metric: str
    best: float | None
    best_step: int
    pairs_per_second: float
    left_out: int = 0
    first_process: bool = True
    signal: int | None = None


@dataclass
class Session:
    """One process's run of the loop: what stays the same while it lasts, and its clock."""

    fabric: Fabric
    parts: TrainingParts
    config: TrainingConfig
    runtime: RuntimeConfig
    folder: Path
    identity: str
    gather: Gather
    log: RunLog
    stop: StopSignals
    timeline: Timeline
    pairs: int = 0
    training_seconds: float = 0.0
    clock: float = 0.0
    saved: float = 0.0
    profiler: StepProfiler | None = None

    def count_step(self) -> None:
        """Add the time since the clock was last set, and the pairs of one step."""
        now = time.monotonic()
        self.training_seconds += now - self.clock
        self.clock = now
        self.pairs += self.config.batch_size

    @property
    def speed(self) -> float:
        """Pairs per second of training steps (loading included, validation not) in this session."""
        return self.pairs / max(self.training_seconds, 1e-9)


def epoch_steps(pairs: int, method: Method, config: TrainingConfig, world: int) -> list[int]:
    """The steps of every epoch: the whole batches in the split, and the turns of auxiliary tasks among them.

    Raises:
        ConfigError: there is no batch, processes cannot share one evenly, or tasks leave no turn to the main objective.
    """
    if config.batch_size % world:
        raise ConfigError(
            f"{config.batch_size} pairs cannot be shared evenly by {world} processes.",
            field="training.batch_size",
            remedy="Choose a multiple of the number of processes.",
        )
    if pairs < config.batch_size:
        raise ConfigError(
            f"the training split has {pairs} pairs, fewer than one batch of {config.batch_size}.",
            field="training.batch_size",
        )
    batches, tasks = pairs // config.batch_size, method.auxiliary_tasks
    return [len(plan_epoch(tasks, batches, seed=config.seed, epoch=epoch)) for epoch in range(config.epochs)]


def summary_of(session: Session, state: TrainingState) -> RunSummary:
    """The account of a run that has just ended."""
    place = state.place
    outcome: Literal["finished", "stopped early", "interrupted"] = "interrupted"
    if place.finished is not None:
        outcome = "finished" if place.finished == "finished" else "stopped early"
    return RunSummary(
        folder=session.folder,
        outcome=outcome,
        steps=place.step,
        epochs=place.epoch,
        metric=session.config.selection.metric,
        best=place.best,
        best_step=place.best_step,
        pairs_per_second=session.speed,
        first_process=session.fabric.is_global_zero,
        left_out=len(session.parts.training.left_out) + len(session.parts.validation.left_out),
        signal=session.stop.received if outcome == "interrupted" else None,
    )
