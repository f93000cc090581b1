"""From a request to a table: protocol by protocol, training by training. A stopped call goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crossray.evaluation.cells import Cells
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.films import Rows, TaskFilms
from crossray.evaluation.localized.image_dice import balanced_films
from crossray.evaluation.localized.kinds import SegmentationKind, TaskKind, kind_of
from crossray.evaluation.localized.map_shelf import MapShelf, Say
from crossray.evaluation.localized.mask_heads import strides_read
from crossray.evaluation.localized.measures import (
    AUROC,
    DATASET_DICE,
    EMPTY_IS_ONE,
    FROC,
    MAP,
    Measured,
    Measures,
    estimate_and_draws,
    mean_of,
)
from crossray.evaluation.localized.pixels import HALF, FilmPixels, Normalisation, measured_normalisation
from crossray.evaluation.localized.plan import LocalizedRequest, Plan, Planned, plan_localized
from crossray.evaluation.localized.protocol import Metric
from crossray.evaluation.localized.table import (
    LocalizedProvenance,
    LocalizedResults,
    LocalizedRow,
    mean_of_runs,
    numbers_of,
    write_localized,
)
from crossray.evaluation.localized.task_run import Outcome, TaskRun
from crossray.evaluation.localized.trunks import OpenedTrunk, open_trunk
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.result_files import seal_results
from crossray.evaluation.results import command_line
from crossray.files import sha256_of_json
from crossray.freed_memory import keep_freed_memory
from crossray.versions import now, versions

if TYPE_CHECKING:
    from crossray.evaluation.localized.report import TaskPage

_HEADLINES: dict[Metric, str] = {
    "dice": DATASET_DICE,
    "dice_empty_is_one": EMPTY_IS_ONE,
    "map": MAP,
    "froc": FROC,
    "auroc": AUROC,
}


def run_localized(request: LocalizedRequest, say: Say | None = None) -> LocalizedResults:
    """Run a suite, write ``localized.{json,csv,md}`` and ``report.html`` into ``request.out``, return the table.

    The files are written after every protocol, so that a long suite can be read while it runs.

    Raises:
        ConfigError, CheckpointError: the trunk or a protocol's change cannot be used.
        DataError, StoreError: a store or a split list cannot be used.
    """
    keep_freed_memory()
    plan = plan_localized(request)
    trunks = _Trunks(request, say or _silent)
    results: LocalizedResults | None = None
    session = _Session(request, plan, trunks, say or _silent)
    for task in plan.tasks:
        session.run(task)
        results = session.results()
        write_localized(results, request.out, session.samples)
        session.write_report(results)
        seal_results(request.out)
    assert results is not None  # a plan without tasks is refused
    return results


class _Trunks:
    """The trunk for each size of films: opened once, with its maps."""

    def __init__(self, request: LocalizedRequest, say: Say) -> None:
        self._request, self._say = request, say
        self._opened: dict[int, tuple[OpenedTrunk, MapTrunk, MapShelf]] = {}

    def of(self, size: int) -> tuple[OpenedTrunk, MapTrunk, MapShelf]:
        """The trunk, as a source of maps, and the shelf of its maps."""
        if size not in self._opened:
            request = self._request
            opened = open_trunk(request.trunk, size, weights=request.weights, checkpoint=request.checkpoint)
            trunk = MapTrunk(opened.encoder)
            self._opened[size] = (opened, trunk, MapShelf(trunk, request.memory, self._say))
        return self._opened[size]


@dataclass
class _Session:
    """A suite under way."""

    request: LocalizedRequest
    plan: Plan
    trunks: _Trunks
    say: Say
    rows: list[LocalizedRow] = field(default_factory=list)
    samples: list[FloatArray] = field(default_factory=list)
    pages: list[TaskPage] = field(default_factory=list)
    normalisation: dict[str, tuple[float, float]] = field(default_factory=dict)
    searched: dict[str, tuple[tuple[float, float | None], ...]] = field(default_factory=dict)

    def run(self, task: Planned) -> None:
        """Run a protocol and add its rows."""
        protocol, films = task.protocol, task.films
        self.say(task.line)
        opened, trunk, shelf = self.trunks.of(protocol.size)
        opened.refuse_seen(films)
        kind = kind_of(protocol, films)
        if protocol.train_films == "balanced" and isinstance(kind, SegmentationKind):
            films = films.with_train(balanced_films(kind.truth, films.train))
        normalisation = self._normalisation(task)
        self.normalisation[protocol.id] = (normalisation.mean, normalisation.std)
        run = TaskRun(
            protocol=protocol,
            films=films,
            kind=kind,
            trunk=trunk,
            trunk_hash=opened.hash,
            pixels=FilmPixels(films.store, protocol.size, normalisation),
            shelf=shelf,
            cells=self._cells,
            say=self.say,
            also=self._films_of_others(task, trunk),
        )
        outcome = run.run()
        self.searched[protocol.id] = tuple(
            (rate, None if np.isnan(metric) else metric) for rate, metric in outcome.searched
        )
        weights = self._weights(films)
        rows = self._rows(Planned(protocol, films), kind, outcome, opened.name, weights)
        self.rows += rows
        if self.request.report:
            from crossray.evaluation.localized.report import task_page

            self.pages.append(task_page(protocol, kind, films, outcome, rows, weights, self.request.level))

    def write_report(self, results: LocalizedResults) -> None:
        """Write ``report.html``, if it is wanted."""
        if self.request.report:
            from crossray.evaluation.localized.report import write_localized_report

            write_localized_report(results, self.pages, self.request.out)

    def results(self) -> LocalizedResults:
        """What there is so far."""
        request = self.request
        opened, _, _ = self.trunks.of(self.plan.tasks[0].protocol.size)
        provenance = LocalizedProvenance(
            suite=request.suite,
            model=opened.name,
            trunk_hash=opened.hash,
            draws=request.draws,
            level=request.level,
            bootstrap_seed=request.bootstrap_seed,
            normalisation=self.normalisation,
            searched=self.searched,
            skipped=self.plan.skipped,
            command=command_line(),
            versions=versions(),
            date=now(),
        )
        return LocalizedResults(provenance=provenance, rows=tuple(self.rows))

    @property
    def _cells(self) -> Cells:
        return Cells(self.request.cells or self.request.out / "cells")

    def _normalisation(self, task: Planned) -> Normalisation:
        if task.protocol.normalisation == "half":
            return HALF
        films = task.films
        cell = self._cells.get(
            f"normalisation/{task.protocol.source}",
            {"films": sha256_of_json([films.store.hash, films.whole_train.tolist()])},
            lambda: {
                name: np.array(value)
                for name, value in vars(measured_normalisation(films.store, films.whole_train)).items()
            },
        )
        return Normalisation(float(cell["mean"]), float(cell["std"]))

    def _films_of_others(self, task: Planned, trunk: MapTrunk) -> Rows:
        """Films that other protocols of the plan want the same maps of: a fraction's are inside a larger one's."""
        strides = strides_read(task.protocol, trunk.channels)
        others = [
            np.concatenate([other.films.train, other.films.validation, other.films.test])
            for other in self.plan.tasks
            if other.protocol.trunk == "frozen"
            and other.films.store is task.films.store
            and strides_read(other.protocol, trunk.channels) == strides
        ]
        return np.concatenate([np.zeros(0, dtype=np.int64), *others])

    def _weights(self, films: TaskFilms) -> FloatArray:
        patients, fold = films.patients(films.test), films.split.folds[0]
        return estimate_and_draws(patients, self.request.draws, self.request.bootstrap_seed, fold.name)

    def _rows(
        self, task: Planned, kind: TaskKind[object, object], outcome: Outcome, model: str, weights: FloatArray
    ) -> list[LocalizedRow]:
        request, protocol, films = self.request, task.protocol, task.films
        measures = [kind.measures(arrays, films.test, weights) for arrays in outcome.runs]
        positives = kind.positives(films.test)
        batch_size = protocol.config(outcome.learning_rate, 0, len(films.train)).batch_size
        shared: dict[str, object] = {
            "protocol": protocol.id,
            "preset": protocol.preset,
            "changed": _changed(request.changes, protocol.schedule.batch_size, batch_size),
            "model": model,
            "runs": len(outcome.seeds),
            "seeds": ", ".join(map(str, outcome.seeds)),
            "n": len(films.test),
            "train": len(films.train),
            "validation": len(films.validation),
            "learning_rate": outcome.learning_rate,
            "batch_size": batch_size,
            "source": protocol.source,
            "store_hash": films.store.hash,
            "split": films.split.protocol,
            "split_hash": films.split.hash,
        }
        headline = (_HEADLINES[protocol.metric], mean_of(protocol.targets))
        ordered = _in_order(measures[0], headline)
        self.samples += [mean_of_runs(measures, what) for what in ordered]
        return [
            LocalizedRow.model_validate(
                shared
                | {"metric": what.metric, "target": what.target, "predictor": what.predictor}
                | {"headline": (what.metric, what.target) == headline, "positives": positives.get(what.target)}
                | numbers_of(measures, what, request.level)
            )
            for what in ordered
        ]


def _in_order(measures: Measures, headline: tuple[str, str]) -> list[Measured]:
    """The headline first, with its baselines."""
    return sorted(measures, key=lambda what: (what.metric, what.target) != headline)


def _changed(changes: Sequence[str], batch_size: int, used: int) -> str:
    cut = [f"batch_size={used} (all training films)"] if used < batch_size else []
    return ", ".join([*changes, *cut])


def _silent(line: str) -> None:
    pass
