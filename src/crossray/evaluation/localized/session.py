"""What the trainings of one call share: the trunk for each size of films, maps, finished trainings, normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crossray.evaluation.cells import Arrays, Cells
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.films import Rows, TaskFilms
from crossray.evaluation.localized.image_dice import balanced_films
from crossray.evaluation.localized.kinds import SegmentationKind, kind_of
from crossray.evaluation.localized.map_shelf import MapShelf, Say
from crossray.evaluation.localized.mask_heads import strides_read
from crossray.evaluation.localized.pixels import FIXED, FilmPixels, Normalisation, measured_normalisation
from crossray.evaluation.localized.plan import LocalizedRequest, Plan, Planned
from crossray.evaluation.localized.task_run import TaskRun
from crossray.evaluation.localized.trunks import OpenedTrunk, open_trunk
from crossray.files import sha256_of_json


@dataclass(frozen=True)
class SizedTrunk:
    """A trunk for films of one size, as a source of maps, with the shelf of its maps."""

    opened: OpenedTrunk
    maps: MapTrunk
    shelf: MapShelf


class Session:
    """Opens trunks once and makes the run of each protocol of a plan."""

    def __init__(self, request: LocalizedRequest, plan: Plan, say: Say) -> None:
        self.request, self.plan, self.say = request, plan, say
        self.cells = Cells(request.cells or request.out / "cells")
        self._trunks: dict[int, SizedTrunk] = {}

    def trunk(self, size: int) -> SizedTrunk:
        """The trunk for films of a size."""
        if size not in self._trunks:
            request = self.request
            opened = open_trunk(request.trunk, size, weights=request.weights, checkpoint=request.checkpoint)
            maps = MapTrunk(opened.encoder)
            self._trunks[size] = SizedTrunk(opened, maps, MapShelf(maps, request.memory, self.say))
        return self._trunks[size]

    def task_run(self, task: Planned, normalisation: Normalisation) -> TaskRun[Any, Any]:
        """A protocol with everything that it runs on.

        Raises:
            ConfigError: the trunk has seen its test films.
        """
        protocol, films = task.protocol, task.films
        trunk = self.trunk(protocol.size)
        trunk.opened.refuse_seen(films)
        kind = kind_of(protocol, films)
        if protocol.train_films == "balanced" and isinstance(kind, SegmentationKind):
            films = films.with_train(balanced_films(kind.truth, films.train))
        return TaskRun(
            protocol=protocol,
            films=films,
            kind=kind,
            trunk=trunk.maps,
            trunk_hash=trunk.opened.hash,
            pixels=FilmPixels(films.store, protocol.size, normalisation, protocol.augmentation),
            shelf=trunk.shelf,
            cells=self.cells,
            say=self.say,
            also=self._films_of_others(task, trunk.maps),
        )

    def normalisation(self, task: Planned) -> Normalisation:
        """How a protocol's films are normalised; measured on the whole training side where the protocol says so."""

        def measure() -> Arrays:
            measured = measured_normalisation(task.films.store, task.films.whole_train)
            return {name: np.array(value) for name, value in vars(measured).items()}

        fixed = FIXED.get(task.protocol.normalisation)
        return fixed or _normalisation(self.cells.get(*_place_of_normalisation(task), measure))

    def known_normalisation(self, task: Planned) -> Normalisation | None:
        """The same if nothing must be measured for it."""
        fixed = FIXED.get(task.protocol.normalisation)
        if fixed is not None:
            return fixed
        cell = self.cells.finished(*_place_of_normalisation(task))
        return None if cell is None else _normalisation(cell.arrays)

    def _films_of_others(self, task: Planned, trunk: MapTrunk) -> Rows:
        """Films that other protocols of the plan want the same maps of: a fraction's are inside a larger one's."""
        strides = strides_read(task.protocol, trunk.channels)
        others = [
            np.concatenate([other.films.train, other.films.validation, other.films.test])
            for other in self.plan.tasks
            if other.protocol.keeps_maps
            and other.films.store is task.films.store
            and strides_read(other.protocol, trunk.channels) == strides
        ]
        return np.concatenate([np.zeros(0, dtype=np.int64), *others])


def _place_of_normalisation(task: Planned) -> tuple[str, dict[str, str]]:
    films: TaskFilms = task.films
    key = sha256_of_json([films.store.hash, films.whole_train.tolist()])
    return f"normalisation/{task.protocol.source}", {"films": key}


def _normalisation(cell: Arrays) -> Normalisation:
    return Normalisation(float(cell["mean"]), float(cell["std"]))
