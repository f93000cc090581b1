"""Training of several runs that differ in learning rate and seed: one after another, or a linear grid together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.config import LocalizedConfig
from crossray.evaluation.localized.kinds import TaskKind
from crossray.evaluation.localized.linear_grid import GridCell, train_linear_grid
from crossray.evaluation.localized.linear_problem import LinearProblem
from crossray.evaluation.localized.model import LocalizedModel
from crossray.evaluation.localized.parts import LocalizedPart
from crossray.evaluation.localized.protocol import LocalizedProtocol
from crossray.evaluation.localized.training import train_localized
from crossray.evaluation.localized.watch import EpochRecord

TruthT = TypeVar("TruthT")
PredictionT = TypeVar("PredictionT")


@dataclass(frozen=True)
class Run:
    """One training."""

    rate: float
    seed: int


@dataclass(frozen=True)
class Trained:
    """A finished training: the model of its best epoch, that epoch, and all of them."""

    model: LocalizedModel
    best: EpochRecord
    history: tuple[EpochRecord, ...]


def lone_trainer(
    kind: TaskKind[TruthT, PredictionT],
    trunk: MapTrunk,
    train: LocalizedPart[TruthT],
    validation: LocalizedPart[TruthT],
    configs: Mapping[Run, LocalizedConfig],
) -> Callable[[Run], Trained]:
    """Trains a run when it is asked for."""

    def train_one(run: Run) -> Trained:
        result = train_localized(
            trunk,
            lambda: kind.make_head(trunk.channels),
            kind.task,
            train,
            validation,
            kind.scorer,
            configs[run],
        )
        return Trained(result.model, result.best, result.history)

    return train_one


def grid_trainer(
    protocol: LocalizedProtocol,
    kind: TaskKind[Any, Any],
    trunk: MapTrunk,
    train: LocalizedPart[Any],
    validation: LocalizedPart[Any],
    configs: Mapping[Run, LocalizedConfig],
) -> Callable[[Run], Trained]:
    """Trains all runs when the first is asked for; their maps are computed already."""

    @cache
    def all_runs() -> dict[Run, Trained]:
        is_segmentation = protocol.kind == "segmentation"
        problem = LinearProblem(trunk.channels, len(protocol.targets), segmentation=is_segmentation)
        cells = [GridCell(config, train.places) for config in configs.values()]
        task: Any = kind.task  # a linear head has masks or labels to predict, never boxes
        results = train_linear_grid(problem, task, train, validation, cells, kind.scorer)
        return {
            run: Trained(LocalizedModel(trunk, result.head), result.best, result.history)
            for run, result in zip(configs, results, strict=True)
        }

    return lambda run: all_runs()[run]
