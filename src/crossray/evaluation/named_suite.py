"""``crossray evaluate --suite``: localized protocols on a trunk, tasks of the joint model, or both, as one table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from crossray.data.split_files import read_split
from crossray.errors import ConfigError
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.evaluation_forecast import NOT_COUNTED as OF_TASKS
from crossray.evaluation.evaluation_forecast import forecast_evaluation
from crossray.evaluation.finetune import Progress
from crossray.evaluation.forecast import Forecast
from crossray.evaluation.localized.forecast import NOT_COUNTED as OF_HEADS
from crossray.evaluation.localized.forecast import forecast_localized
from crossray.evaluation.localized.plan import LocalizedRequest
from crossray.evaluation.localized.shipped import Suite, find_suite
from crossray.evaluation.localized.suite import run_localized
from crossray.evaluation.numbers import Number, numbers_of, write_numbers
from crossray.evaluation.runs import find_runs

HEADS, JOINT = "heads", "joint"
"""Folders of the two halves of a suite that has both."""


class NamedSuite:
    """A suite with what it is run on.

    Args:
        tasks: request for the tasks of the joint model, if there are any.
        heads: request for the localized protocols, if there are any.
        out: folder of the whole.
    """

    def __init__(self, tasks: EvaluationRequest | None, heads: LocalizedRequest | None, out: Path) -> None:
        self._tasks, self._heads, self._out = tasks, heads, out

    @classmethod
    def of(
        cls, name: str, request: EvaluationRequest, data: Path | str | None, image_encoder: str | None
    ) -> NamedSuite:
        """The suite of a name, or one localized protocol by its id.

        Args:
            name: see ``suites.yaml``.
            request: of ``crossray evaluate``; its settings change localized protocols where the suite has any.
            data: a store, or a folder of stores, for localized protocols.
            image_encoder: their trunk, if there is no run.

        Raises:
            ConfigError: there is no such suite, or what it needs is missing or of another split.
        """
        suite = find_suite(name)
        tasks = _of_tasks(name, suite, request)
        heads = _of_heads(name, suite, request, data, image_encoder)
        if tasks is not None and heads is not None:
            tasks = replace(tasks, out=request.out / JOINT, settings=())
            heads = replace(heads, out=request.out / HEADS)
        return cls(tasks, heads, request.out)

    def forecast(self) -> list[Forecast]:
        """Everything that would be done."""
        heads = forecast_localized(self._heads) if self._heads is not None else []
        return [*heads, *(forecast_evaluation(self._tasks) if self._tasks is not None else [])]

    @property
    def not_counted(self) -> str:
        """What the times of the forecast leave out."""
        parts = [OF_HEADS if self._heads is not None else "", OF_TASKS if self._tasks is not None else ""]
        return "; ".join(part for part in parts if part)

    def run(self, say: Progress) -> list[Path]:
        """Do it, write ``numbers.json`` and ``numbers.parquet``, and name the tables to be read."""
        numbers: list[Number] = []
        tables: list[Path] = []
        if self._heads is not None:
            numbers += numbers_of(run_localized(self._heads, say))
            tables.append(self._heads.out / "localized.md")
        if self._tasks is not None:
            numbers += numbers_of(evaluate_runs(self._tasks, say))
            tables.append(self._tasks.out / "results.md")
        if len(tables) > 1:  # otherwise the one half has written the same
            write_numbers(numbers, self._out)
        return tables


def _of_heads(
    name: str, suite: Suite, request: EvaluationRequest, data: Path | str | None, image_encoder: str | None
) -> LocalizedRequest | None:
    if not suite.protocols:
        return None
    if data is None:
        raise ConfigError(f"suite '{name}' trains heads on data sets.", field="--data", remedy="Give their stores.")
    if (image_encoder is None) != (len(request.runs) == 1):
        raise ConfigError(
            f"suite '{name}' trains heads on one trunk.", remedy="Give one run's folder, or --image-encoder."
        )
    return LocalizedRequest(
        suite=name,
        data=data,
        out=request.out,
        trunk=str(request.runs[0]) if image_encoder is None else image_encoder,
        checkpoint=request.checkpoint,
        split=None if request.split is None else Path(request.split),
        changes=request.settings,
        cells=request.cells,
        report=request.report,
    )


def _of_tasks(name: str, suite: Suite, request: EvaluationRequest) -> EvaluationRequest | None:
    if not suite.tasks or (suite.protocols and not request.runs):  # heads can be trained on a trunk alone
        return None
    if not request.runs:
        raise ConfigError(f"suite '{name}' evaluates a run's films and texts.", remedy="Give the folder of a run.")
    if suite.split is not None:
        split = read_split(request.split or find_runs(request.runs, request.checkpoint)[0].split).protocol
        if split != suite.split:
            raise ConfigError(
                f"suite '{name}' is of split '{suite.split}', the run was trained on '{split}'.",
                field="--suite",
                remedy="Leave --suite out to evaluate the run on its own split.",
            )
    # A split list that is given is of the data sets of the heads.
    return replace(request, tasks=",".join(suite.tasks), split=None if suite.protocols else request.split)
