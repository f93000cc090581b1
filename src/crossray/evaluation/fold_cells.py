"""What a fold's cells are made from: runs, films and texts, and what each cell depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossray.data.splits import SplitList
from crossray.data.store import Store
from crossray.evaluation.cells import Arrays, Cells
from crossray.evaluation.cohort import Cohort, build_cohort
from crossray.evaluation.finetune import Progress
from crossray.evaluation.models import FloorModel, RunModel, floor_encoder
from crossray.evaluation.protocol import EvaluationConfig, Protocol
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.runs import Run

#: Raised when what a task computes changes: cells made before are then made again.
CELL_VERSION = 2


@dataclass(frozen=True)
class FoldCells:
    """A run and its floor on the studies of its fold, and the shelf on which what they say is kept."""

    run: Run
    store: Store
    split: SplitList
    protocol: Protocol
    config: EvaluationConfig
    cells: Cells
    say: Progress

    @property
    def pretrained(self) -> Evaluated:
        """What the run's lines in the tables are called."""
        return Evaluated(f"pretrained ({self.run.method})")

    @property
    def trained(self) -> str:
        """What was trained, for the record of results."""
        return f"{self.run.path.name}, weights {self.run.weights_hash[:16]}"

    @property
    def weights(self) -> str:
        """Hash of everything that was learned."""
        return self.run.weights_hash

    @property
    def method_settings(self) -> object:
        """What decides how films and texts are scored, beside the weights."""
        return self.run.model.method.model_dump(mode="json")

    @cached_property
    def cohort(self) -> Cohort:
        """The fold's studies."""
        fold, protocol = self.split.fold(self.run.fold), self.protocol
        return build_cohort(self.store, fold, protocol.labels, protocol.views, self.run.model.text)

    @cached_property
    def model(self) -> RunModel:
        """The run's model, not loaded before a cell needs it."""
        return RunModel(self.run, self.store, self.config.batch_size)

    @cached_property
    def floor(self) -> FloorModel:
        """The floor's trunk."""
        encoder = floor_encoder(self.run.model.image_encoder)
        return FloorModel(encoder, self.run.model.image, self.store, self.config.batch_size)

    @property
    def has_floors(self) -> bool:
        """Whether floors were asked for."""
        return "floors" in self.config.tasks

    @cached_property
    def _run_features(self) -> list[NDArray[np.float32]]:
        """The run's features of the three parts' films."""
        return [self.model.features(part.films) for part in self._parts]

    def _floor_features(self) -> list[NDArray[np.float32]]:
        """The floor's features of the three parts; kept as a cell of all films, for they are the same in every fold."""
        films = np.unique(np.concatenate([part.films for part in self._parts]))
        depends = {"films": films.tolist(), **self._floor_dependence(), "store": self.store.hash}
        cell = self.cells.get("imagenet-features", depends, lambda: {"features": self.floor.features(films)})
        return [cell["features"][np.searchsorted(films, part.films)] for part in self._parts]

    @property
    def _parts(self) -> tuple[Any, Any, Any]:
        return self.cohort.train, self.cohort.validation, self.cohort.test

    def _of_run(self, task: str, depends: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        made_from = {"weights": self.weights, **self._data_dependence(), "task": depends}
        return self._cell(f"pretrained-{task}", made_from, make)

    def _of_scores(self, task: str, depends: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """A cell of what films and texts score: a method has settings for that which leave its weights as they are."""
        return self._of_run(task, {**depends, "method": self.method_settings}, make)

    def _of_floor(self, task: str, depends: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        made_from = {**self._floor_dependence(), **self._data_dependence(), "task": depends}
        return self._cell(f"floor-{task}", made_from, make)

    def _cell(self, name: str, made_from: dict[str, Any], make: Callable[[], Arrays]) -> Arrays:
        def make_and_say() -> Arrays:
            self.say(f"fold {self.run.fold}: {name}")
            return make()

        return self.cells.get(f"fold{self.run.fold}/{name}", {"version": CELL_VERSION, **made_from}, make_and_say)

    def _data_dependence(self) -> dict[str, Any]:
        return {
            "store": self.store.hash,
            "split": self.split.hash,
            "fold": self.run.fold,
            "image": self.run.model.image.model_dump(mode="json"),
            "text": self.run.model.text.model_dump(mode="json"),
            "labels": list(self.protocol.labels),
            "views": list(self.protocol.views),
        }

    def _floor_dependence(self) -> dict[str, Any]:
        encoder = floor_encoder(self.run.model.image_encoder).model_dump(mode="json")
        return {"encoder": encoder, "image": self.run.model.image.model_dump(mode="json")}
