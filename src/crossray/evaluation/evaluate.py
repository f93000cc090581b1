"""From a command to a results folder: read the settings, evaluate, write table and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossray.errors import ConfigError
from crossray.evaluation.finetune import Progress
from crossray.evaluation.fold import FoldEvaluation
from crossray.evaluation.numbers import numbers_of, write_numbers
from crossray.evaluation.protocol import DEFAULT_TASKS, TASKS, EvaluationConfig
from crossray.evaluation.result_files import seal_results
from crossray.evaluation.results import Results
from crossray.evaluation.suite import Evaluation, ensemble_folds, evaluate, open_evaluation
from crossray.freed_memory import keep_freed_memory
from crossray.ownership import owned
from crossray.settings import apply_overrides, build_settings


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate and where to write it.

    Attributes:
        runs: run folders, or folders of them.
        out: the results folder.
        tasks: comma-separated names of tasks.
        settings: ``section.key=value`` changes to :class:`EvaluationConfig`, or to the protocol as ``protocol.key``.
        store, split: where they are now, if they were moved since training.
        cells: folder of finished pieces; default ``out/cells``.
        checkpoint: which weights of each run.
        report: whether to write the HTML report too.
        ensemble: whether each of ``runs`` is a member of one ensemble, instead of a fold of one recipe.
    """

    runs: tuple[Path, ...]
    out: Path
    tasks: str = ",".join(DEFAULT_TASKS)
    settings: tuple[str, ...] = ()
    store: str | None = None
    split: str | None = None
    cells: Path | None = None
    checkpoint: str = "best"
    report: bool = True
    ensemble: bool = False


def evaluate_runs(request: EvaluationRequest, progress: Progress | None = None) -> Results:
    """Evaluate, and return the table; ``request.out`` gets it as ``results.*`` and ``numbers.*``, and ``report.html``.

    Raises:
        ConfigError: an unknown task or setting.
        CheckpointError, StoreError, DataError: a run, the store or the split cannot be used.
        FolderInUseError, FolderTakenError: another process writes to ``request.out``.
    """
    keep_freed_memory()
    with owned(request.out):
        folds = open_folds(request, progress)
        results = evaluate(folds, request.out)
        write_numbers(numbers_of(results), request.out)
        if request.report and not request.ensemble:
            from crossray.evaluation.report import write_report  # matplotlib takes its time to import

            write_report(folds, results, request.out)
        seal_results(request.out)
    return results


def open_folds(request: EvaluationRequest, progress: Progress | None = None) -> Sequence[FoldEvaluation]:
    """The folds that a request names, opened; nothing is scored yet.

    Raises:
        ConfigError, CheckpointError, StoreError, DataError: as :func:`evaluate_runs`.
    """
    changes = apply_overrides({}, request.settings)
    protocol_changes: dict[str, Any] = changes.pop("protocol", {})
    config = build_settings(EvaluationConfig, {**changes, "tasks": _tasks(request.tasks)})

    def opened(runs: Sequence[Path]) -> Evaluation:
        return open_evaluation(
            runs,
            config,
            store=request.store,
            split=request.split,
            checkpoint=request.checkpoint,
            protocol_changes=protocol_changes,
        )

    cells = request.cells or request.out / "cells"
    if request.ensemble:
        return ensemble_folds([opened([member]) for member in request.runs], cells, progress)
    return opened(request.runs).folds(cells, progress)


def _tasks(written: str) -> tuple[str, ...]:
    wanted = [name.strip().replace("-", "_") for name in written.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in TASKS]
    if unknown or not wanted:
        raise ConfigError(f"there is no task '{', '.join(unknown)}'.", remedy=f"Choose from {', '.join(TASKS)}.")
    return tuple(name for name in TASKS if name in wanted)
