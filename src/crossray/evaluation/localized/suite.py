"""From a request to a table: protocol by protocol, training by training. A stopped call goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from crossray.evaluation.localized.films import TaskFilms
from crossray.evaluation.localized.kinds import TaskKind
from crossray.evaluation.localized.map_shelf import Say
from crossray.evaluation.localized.measures import (
    AUROC,
    DATASET_DICE,
    EMPTY_IS_ONE,
    F1_AT_ARGMAX,
    FROC,
    MAP,
    Measured,
    Measures,
    estimate_and_draws,
    mean_of,
)
from crossray.evaluation.localized.plan import LocalizedRequest, Planned, plan_localized
from crossray.evaluation.localized.protocol import Metric
from crossray.evaluation.localized.session import Session
from crossray.evaluation.localized.table import (
    LocalizedProvenance,
    LocalizedResults,
    LocalizedRow,
    mean_of_runs,
    row_numbers,
    write_localized,
)
from crossray.evaluation.localized.task_run import Outcome
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.numbers import numbers_of, write_numbers
from crossray.evaluation.result_files import seal_results
from crossray.evaluation.results import command_line
from crossray.freed_memory import keep_freed_memory
from crossray.ownership import owned
from crossray.versions import now, versions

if TYPE_CHECKING:
    from crossray.evaluation.localized.report import TaskPage

_HEADLINES: dict[Metric, str] = {
    "dice": DATASET_DICE,
    "dice_empty_is_one": EMPTY_IS_ONE,
    "map": MAP,
    "froc": FROC,
    "auroc": AUROC,
    "f1": F1_AT_ARGMAX,
}


def run_localized(request: LocalizedRequest, say: Say | None = None) -> LocalizedResults:
    """Run a suite, return the table; ``request.out`` gets it as ``localized.*`` and ``numbers.*``, and ``report.html``.

    The files are written after every protocol, so that a long suite can be read while it runs.

    Raises:
        ConfigError, CheckpointError: the trunk or a protocol's change cannot be used.
        DataError, StoreError: a store or a split list cannot be used.
        FolderInUseError, FolderTakenError: another process writes to ``request.out``.
    """
    keep_freed_memory()
    plan = plan_localized(request)
    results: LocalizedResults | None = None
    table = _Table(Session(request, plan, say or _silent))
    with owned(request.out):
        for task in plan.tasks:
            table.add(task)
            results = table.results()
            write_localized(results, request.out, table.samples)
            write_numbers(numbers_of(results), request.out)
            table.write_report(results)
            seal_results(request.out)
    assert results is not None  # a plan without tasks is refused
    return results


@dataclass
class _Table:
    """Rows, draws and pages of the protocols that have been run."""

    session: Session
    rows: list[LocalizedRow] = field(default_factory=list)
    samples: list[FloatArray] = field(default_factory=list)
    pages: list[TaskPage] = field(default_factory=list)
    normalisation: dict[str, tuple[float, float]] = field(default_factory=dict)
    searched: dict[str, tuple[tuple[float, float | None], ...]] = field(default_factory=dict)

    @property
    def request(self) -> LocalizedRequest:
        """What was asked for."""
        return self.session.request

    def add(self, task: Planned) -> None:
        """Run a protocol and add its rows."""
        protocol = task.protocol
        self.session.say(task.line)
        normalisation = self.session.normalisation(task)
        self.normalisation[protocol.id] = (normalisation.mean, normalisation.std)
        run = self.session.task_run(task, normalisation)
        films, kind = run.films, run.kind
        outcome = run.run()
        self.searched[protocol.id] = tuple(
            (rate, None if np.isnan(metric) else metric) for rate, metric in outcome.searched
        )
        weights = self._weights(films)
        name = self.session.trunk(protocol.size).opened.name
        rows = self._rows(Planned(protocol, films), kind, outcome, name, weights)
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
        plan = self.session.plan
        opened = self.session.trunk(plan.tasks[0].protocol.size).opened
        provenance = LocalizedProvenance(
            suite=request.suite,
            model=opened.name,
            trunk_hash=opened.hash,
            draws=request.draws,
            level=request.level,
            bootstrap_seed=request.bootstrap_seed,
            normalisation=self.normalisation,
            searched=self.searched,
            skipped=plan.skipped,
            command=command_line(),
            versions=versions(),
            date=now(),
        )
        return LocalizedResults(provenance=provenance, rows=tuple(self.rows))

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
                | row_numbers(measures, what, request.level)
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
