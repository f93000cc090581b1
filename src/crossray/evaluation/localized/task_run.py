"""One protocol on one trunk: learning rates tried on validation, fresh seeds with the best, predictions on test.

Spec: ``localized_evaluation``, section 2. Every training is a cell on disk, so that a stopped call goes on. The search
has a seed of its own: the runs that are reported repeat none of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, Literal, TypeVar

import numpy as np
import torch

import crossray
from crossray.evaluation.cells import Arrays, Cells, FinishedCell
from crossray.evaluation.forecast import Piece
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.films import Rows, TaskFilms
from crossray.evaluation.localized.kinds import TaskKind
from crossray.evaluation.localized.map_shelf import MapShelf, Say
from crossray.evaluation.localized.mask_heads import strides_read
from crossray.evaluation.localized.parts import CachedMaps, LocalizedPart
from crossray.evaluation.localized.pixels import FilmPixels
from crossray.evaluation.localized.protocol import LocalizedProtocol
from crossray.evaluation.localized.trainers import Run, Trained, grid_trainer, lone_trainer
from crossray.files import sha256_of_json

TruthT = TypeVar("TruthT")
PredictionT = TypeVar("PredictionT")

Stage = Literal["search", "run"]

#: Parts of a protocol that no training depends on.
_WORDS = {"notes", "number", "paper", "seeds", "seed_list", "recipe", "legacy", "shares"}


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes:
        learning_rate: that was chosen.
        searched: learning rate and best validation metric, in the protocol's order; empty with a single rate.
        seeds: of the runs.
        runs: kept predictions of each run on the test films.
        validation: best validation metric of each run.
        epochs: how many epochs each was trained.
    """

    learning_rate: float
    searched: tuple[tuple[float, float], ...]
    seeds: tuple[int, ...]
    runs: tuple[Arrays, ...]
    validation: tuple[float, ...]
    epochs: tuple[int, ...]


@dataclass(frozen=True)
class TaskRun(Generic[TruthT, PredictionT]):
    """A protocol with everything that it runs on.

    Attributes:
        protocol: with its changes.
        films: its films.
        kind: its truth and its head.
        trunk: whose maps the shelf keeps.
        trunk_hash: of its tensors.
        pixels: its films, normalised.
        shelf: maps that tasks share.
        cells: finished trainings.
        say: told of each training.
        also: films that other tasks of the suite need maps of.
    """

    protocol: LocalizedProtocol
    films: TaskFilms
    kind: TaskKind[TruthT, PredictionT]
    trunk: MapTrunk
    trunk_hash: str
    pixels: FilmPixels
    shelf: MapShelf
    cells: Cells
    say: Say
    also: Rows

    def run(self) -> Outcome:
        """Search, then run the seeds; trainings that are on disk are read."""
        train = self.trainer(self.searches)
        searched = tuple((run.rate, float(self._cell("search", run, train)["best_metric"])) for run in self.searches)
        runs = self._final_runs(searched)
        train = self.trainer(runs)
        found = [self._cell("run", run, train) for run in runs]
        return Outcome(
            learning_rate=runs[0].rate,
            searched=searched,
            seeds=tuple(run.seed for run in runs),
            runs=tuple(found),
            validation=tuple(float(cell["best_metric"]) for cell in found),
            epochs=tuple(int(cell["validation_epoch"][-1]) for cell in found),
        )

    def pieces(self) -> tuple[Piece, ...]:
        """Every training, and whether it is on disk. Until all rates are tried, the rate of the last runs is open."""
        cells = [(run.rate, *self._place("search", run)) for run in self.searches]
        searched = [(rate, name, self.cells.finished(name, key)) for rate, name, key in cells]
        found = [_piece(name, cell) for _, name, cell in searched]
        metrics = [(rate, float(cell.arrays["best_metric"])) for rate, _, cell in searched if cell is not None]
        if len(metrics) < len(searched):
            return (
                *found,
                *(Piece(f"{self.protocol.id}/run-?-{seed}", done=False) for seed in self.protocol.run_seeds),
            )
        places = [self._place("run", run) for run in self._final_runs(metrics)]
        return (*found, *(_piece(name, self.cells.finished(name, key)) for name, key in places))

    @property
    def searches(self) -> tuple[Run, ...]:
        """A training of each learning rate; none where there is no choice."""
        rates = self.protocol.learning_rates
        return tuple(Run(rate, self.protocol.search_seed) for rate in rates) if len(rates) > 1 else ()

    def _final_runs(self, searched: Sequence[tuple[float, float]]) -> tuple[Run, ...]:
        """The runs with the rate of the best metric, of equal ones the first; NaN is no candidate unless all are."""
        first = self.protocol.learning_rates[0]
        rate = max(searched, key=lambda pair: _or_worst(pair[1]))[0] if searched else first
        return tuple(Run(rate, seed) for seed in self.protocol.run_seeds)

    def _cell(self, stage: Stage, run: Run, train: Callable[[Run], Trained]) -> Arrays:
        """A finished training: its validation and, of a run that is reported, its predictions."""

        def make() -> Arrays:
            trained = train(run)
            best = trained.best
            self.say(
                f"{self.protocol.id}: {stage}, learning rate {run.rate:g}, seed {run.seed}: best epoch {best.epoch} of "
                f"{trained.history[-1].epoch}, validation {best.validation_metric:.4f}"
            )
            return (self._predictions(trained) if stage == "run" else {}) | {
                "best_metric": np.array(best.validation_metric),
                "validation_epoch": np.array([epoch.epoch for epoch in trained.history]),
                "validation_metric": np.array([epoch.validation_metric for epoch in trained.history]),
                "validation_loss": np.array([epoch.validation_loss for epoch in trained.history]),
            }

        return self.cells.get(*self._place(stage, run), make)

    def _place(self, stage: Stage, run: Run) -> tuple[str, dict[str, object]]:
        """Name of a training among the cells, and what it is made from."""
        made_from = self._made_from | {"rate": run.rate, "seed": run.seed, "tested": stage == "run"}
        return f"{self.protocol.id}/{stage}-{run.rate:g}-{run.seed}", made_from

    def _predictions(self, trained: Trained) -> Arrays:
        _, validation, test = self.parts
        return self.kind.predictions(trained.model, test, self._batch_size) | self.kind.validation_predictions(
            trained.model, validation, self._batch_size
        )

    def trainer(self, runs: Sequence[Run]) -> Callable[[Run], Trained]:
        """Trains one of ``runs`` when it is asked for; linear heads on maps all together when the first is."""

        def make_trainer() -> Callable[[Run], Trained]:
            train, validation, _ = self.parts
            schedule = [self.protocol.config(run.rate, run.seed, len(train)) for run in runs]
            configs = dict(zip(runs, schedule, strict=True))
            if self.protocol.is_linear_grid and isinstance(train.inputs, CachedMaps):
                return grid_trainer(self.protocol, self.kind, self.trunk, train, validation, configs)
            return lone_trainer(self.kind, self.trunk, train, validation, configs)

        made: list[Callable[[Run], Trained]] = []

        def train(run: Run) -> Trained:
            # Nothing is computed for a task whose trainings are all on disk.
            if not made:
                made.append(make_trainer())
            return made[0](run)

        return train

    @cached_property
    def parts(self) -> tuple[LocalizedPart[TruthT], LocalizedPart[TruthT], LocalizedPart[TruthT]]:
        """Train, validation and test, on maps where the trunk is frozen and there is room for them."""
        sides = (self.films.train, self.films.validation, self.films.test)
        every = np.concatenate(sides)
        keeps = self.protocol.keeps_maps
        found = self.shelf.maps(self.pixels, every, self.also, self.strides) if keeps else None
        maps, pool = found if found is not None else (None, np.unique(every))
        inputs = maps if maps is not None else lambda places: self.pixels(pool[places.numpy()])
        train, validation, test = (
            LocalizedPart(
                inputs,
                lambda places: self.kind.truth(pool[places.numpy()]),
                torch.from_numpy(np.searchsorted(pool, rows)),
            )
            for rows in sides
        )
        if self.pixels.varies:
            train = replace(train, varied=lambda places, *seed: self.pixels.varied(pool[places.numpy()], *seed))
        return train, validation, test

    def pool(self) -> Rows | None:
        """Films that maps of a frozen trunk are made of; ``None`` if there is no room for them."""
        every = np.concatenate([self.films.train, self.films.validation, self.films.test])
        return self.shelf.pool(self.pixels, every, self.also, self.strides)

    @property
    def strides(self) -> frozenset[int]:
        """Of the maps that the head reads."""
        return strides_read(self.protocol, self.trunk.channels)

    @property
    def _batch_size(self) -> int:
        return self.protocol.schedule.batch_size

    @cached_property
    def _made_from(self) -> dict[str, object]:
        sides = (self.films.train, self.films.validation, self.films.test)
        last = self.protocol.schedule.last_step
        return {
            # Trainings of earlier versions went on at rate 0 after it.
            **({} if last is None else {"last_step": last}),
            "protocol": self.protocol.model_dump(mode="json", exclude=_WORDS),
            "films": sha256_of_json([self.films.store.hash, *(rows.tolist() for rows in sides)]),
            "normalisation": list(self.pixels.key[2:]),
            "trunk": self.trunk_hash,
            "crossray": crossray.__version__,
        }


def _piece(name: str, cell: FinishedCell | None) -> Piece:
    return Piece(name, cell is not None, None if cell is None else cell.seconds)


def _or_worst(value: float) -> float:
    return -math.inf if math.isnan(value) else value
