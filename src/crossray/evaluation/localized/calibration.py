"""How long a protocol's trainings will take, from epochs on a few of its films that are really run and timed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from crossray.evaluation.cells import Cells
from crossray.evaluation.forecast import Expected, Piece, seconds_of
from crossray.evaluation.localized.map_shelf import MapShelf
from crossray.evaluation.localized.task_run import TaskRun
from crossray.evaluation.localized.trainers import Run

_FILMS = 4
"""Films that are timed where heads are trained one by one; linear heads that are trained together need a whole batch,
for most of their step is the same for few films and for many. Fewer, if a training side has fewer."""

_LONG, _EPOCHS = 2.0, 5
"""Seconds from which on an epoch is timed once, and how many are timed otherwise."""

_ROOM = 1000.0


@dataclass(frozen=True)
class Pace:
    """Seconds a film: of its maps (0 where none are kept), a training step, and a look at it in validation.

    A grid of linear heads makes its steps together: then a step and a look are those of all its heads.
    """

    maps: float
    step: float
    look: float


class Calibration:
    """Paces that were measured, one for each kind of work; protocols that differ in their films alone share one."""

    def __init__(self) -> None:
        self._paces: dict[tuple[object, ...], Pace] = {}
        self._mapped: list[tuple[object, frozenset[int], frozenset[int]]] = []

    def expected(self, run: TaskRun[Any, Any], pieces: tuple[Piece, ...]) -> Expected:
        """For the trainings that are not done: from the shortest that early stopping allows to the longest.

        Trainings of this very protocol that are done and were timed are the better guide where each is trained alone.
        """
        to_do = [piece for piece in pieces if not piece.done]
        together = self._are_together(run)
        took = [piece.took for piece in pieces if piece.took is not None]
        if took and not together:
            each = sum(took) / len(took)
            return Expected(each * len(to_do), each * len(to_do), f"mean of {len(took)} finished trainings")
        sizes = [len(side) for side in (run.films.train, run.films.validation, run.films.test)]
        rate = run.protocol.learning_rates[0]
        pace, schedule = self._pace(run, together), run.protocol.config(rate, 0, sizes[0]).of_films(sizes[0])
        epochs = (schedule.fewest_epochs, schedule.max_epochs)
        low, high = (count * sizes[0] * pace.step + schedule.looks(count) * sizes[1] * pace.look for count in epochs)
        stages = [[piece for piece in to_do if f"/{stage}-" in piece.name] for stage in ("search", "run")]
        trained = sum(map(bool, stages)) if together else len(to_do)
        tested = len(stages[1]) * (sizes[1] + sizes[2]) * pace.look
        fixed = pace.maps * self._unmapped(run) + tested
        return Expected(
            fixed + trained * low,
            fixed + trained * high,
            f"{epochs[0]} to {epochs[1]} epochs, timed just now on {self._films(run)} films",
        )

    def _pace(self, run: TaskRun[Any, Any], together: bool) -> Pace:
        protocol = run.protocol
        key = (
            *(protocol.kind, protocol.trunk, protocol.head, protocol.loss, protocol.size, protocol.unet_width),
            *(len(protocol.targets), together, self._keeps_maps(run), self._films(run), run.pixels.varies),
        )
        if key not in self._paces:
            self._paces[key] = _measured(run, self._films(run), together, self._keeps_maps(run))
        return self._paces[key]

    def _keeps_maps(self, run: TaskRun[Any, Any]) -> bool:
        return run.protocol.keeps_maps and run.pool() is not None

    def _films(self, run: TaskRun[Any, Any]) -> int:
        wanted = run.protocol.schedule.batch_size if self._are_together(run) else _FILMS
        return min(wanted, len(run.films.train))

    def _are_together(self, run: TaskRun[Any, Any]) -> bool:
        return run.protocol.is_linear_grid and self._keeps_maps(run)

    def _unmapped(self, run: TaskRun[Any, Any]) -> int:
        """Films whose maps no protocol before has made."""
        pool = run.pool() if run.protocol.keeps_maps else None
        if pool is None:
            return 0
        films = frozenset(pool.tolist())
        known = (
            strides >= run.strides and rows >= films for key, strides, rows in self._mapped if key == run.pixels.key
        )
        if any(known):
            return 0
        self._mapped.append((run.pixels.key, run.strides, films))
        return len(films)


def _measured(run: TaskRun[Any, Any], films: int, together: bool, keeps_maps: bool) -> Pace:
    with TemporaryDirectory() as nowhere:
        small = _small(run, films, Cells(Path(nowhere)), keeps_maps)
        with torch.no_grad():
            run.trunk(run.pixels(run.films.train[:films]))  # what is done once: memory, threads, reading the store
        mapping = seconds_of(lambda: small.parts) / len(np.unique(_films_of(small))) if keeps_maps else 0.0
        runs = [Run(run.protocol.learning_rates[0], seed) for seed in range(run.protocol.seeds if together else 1)]
        first = _seconds_of(small, runs, 1)
        # Where an epoch is short, most of the first is what a training does once: the later ones are timed then.
        epochs = 1 if first > _LONG else _EPOCHS
        whole = _seconds_of(small, runs, epochs) if epochs > 1 else first
        epoch = max(0.0, whole - first) / (epochs - 1) if epochs > 1 else first
        # The same with every validation film twice: what it takes longer is looking at films.
        looked = replace(small, films=replace(small.films, validation=np.tile(small.films.validation, 2)))
        looks = max(0.0, _seconds_of(looked, runs, epochs) - whole) / epochs
    return Pace(mapping, max(0.0, epoch - looks) / films, looks / len(small.films.validation))


def _small(run: TaskRun[Any, Any], films: int, cells: Cells, keeps_maps: bool) -> TaskRun[Any, Any]:
    """The protocol with one batch an epoch, of its first films, with maps if the whole has them."""
    protocol = run.protocol
    changes = {"batch_size": films, "warmup_batches": 0, "first_look": 1, "look_every": 1}
    schedule = protocol.schedule.model_copy(update=changes)
    whole = run.films
    return replace(
        run,
        protocol=protocol.model_copy(update={"schedule": schedule}),
        films=replace(whole, train=whole.train[:films], validation=whole.validation[:films], test=whole.test[:1]),
        shelf=MapShelf(run.trunk, _ROOM if keeps_maps else 0.0, lambda _: None),
        cells=cells,
        also=np.zeros(0, dtype=np.int64),
    )


def _films_of(run: TaskRun[Any, Any]) -> Any:
    return np.concatenate([run.films.train, run.films.validation, run.films.test])


def _seconds_of(run: TaskRun[Any, Any], runs: list[Run], epochs: int) -> float:
    schedule = run.protocol.schedule.model_copy(update={"max_epochs": epochs, "patience": epochs})
    run = replace(run, protocol=run.protocol.model_copy(update={"schedule": schedule}))
    _ = run.parts  # maps are not part of an epoch
    return seconds_of(lambda: run.trainer(runs)(runs[0]))
