"""What a call of ``crossray evaluate`` would make, what of it is done, and how long the rest is expected to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.cells import Arrays, Cells
from crossray.evaluation.ensemble import EnsembleFold
from crossray.evaluation.evaluate import EvaluationRequest, open_folds
from crossray.evaluation.fold import FoldEvaluation
from crossray.evaluation.forecast import Expected, Forecast, Piece, seconds_of
from crossray.evaluation.tasks import finetune_task

NOT_COUNTED = "regressions, comparing films with texts, intervals and the report"

_FILMS, _TEXTS = 8, 16
_ABILITIES = "abilities"
_ASKED = ("retrieval", "class-retrieval", "zero-shot", "grounding")
"""Pieces that embed the test films, which is done once for all of them."""


class PlannedCells(Cells):
    """Makes and writes nothing: notes which cells are asked for, and whether they are there."""

    def __init__(self, cells: Cells) -> None:
        super().__init__(cells.folder)
        self.pieces: dict[str, Piece] = {}

    def get(self, name: str, made_from: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """The arrays of a cell that is there; of one that is not, empty ones. What a method can do is looked up."""
        found = self.finished(name, made_from)
        if name.endswith(_ABILITIES):
            return make() if found is None else found.arrays
        self.pieces[name] = Piece(name, found is not None, None if found is None else found.seconds)
        return _Unmade({"fused|": np.zeros(0)}) if found is None else found.arrays


class _Unmade(dict[str, NDArray[Any]]):
    """Stands for a cell that is to be made: every array of it is empty."""

    def __missing__(self, key: str) -> NDArray[Any]:
        return np.zeros(0)


def forecast_evaluation(request: EvaluationRequest) -> list[Forecast]:
    """A forecast for each fold. Models are opened and timed on a few films; nothing is written.

    Raises:
        ConfigError, CheckpointError, StoreError, DataError: as ``evaluate_runs``, before anything is scored.
    """
    planned = [_planned(fold) for fold in open_folds(request)]
    took: dict[str, list[float]] = {}
    for _, pieces in planned:
        for piece in pieces:
            if piece.took is not None:
                took.setdefault(_task(piece), []).append(piece.took)
    pace: Pace | None = None
    forecasts = []
    for fold, pieces in planned:
        to_do = [piece for piece in pieces if not piece.done]
        if any(_task(piece) not in took for piece in to_do) and pace is None:
            pace = _measured(fold)
        sides = " / ".join(str(len(part)) for part in _parts(fold))
        title = f"fold {fold.run.fold} of {fold.trained}: {sides} studies"
        forecasts.append(Forecast(title, pieces, _expected(fold, to_do, took, pace) if to_do else None))
    return forecasts


def _planned(fold: FoldEvaluation) -> tuple[FoldEvaluation, tuple[Piece, ...]]:
    cells = PlannedCells(fold.cells)
    asked = replace(fold, cells=cells)
    if isinstance(fold, EnsembleFold):
        members = tuple(replace(member, cells=cells) for member in fold.members)
        asked = replace(fold, cells=cells, members=members)
    asked.evaluate()
    return asked, tuple(cells.pieces.values())


@dataclass(frozen=True)
class Pace:
    """Seconds to look at a film, to read a text, and for a film's share of a step of fine-tuning."""

    look: float
    text: float
    step: float


def _measured(fold: FoldEvaluation) -> Pace:
    model, cohort = fold.model, fold.cohort
    few = [part.rows(np.arange(min(_FILMS, len(part)))) for part in _parts(fold)]
    films, texts = few[2].films, [text for text in cohort.test.texts[:_TEXTS] if text.text]
    model.features(films)  # the first does what is done once: memory, threads
    look = seconds_of(lambda: model.features(films)) / len(films)
    reads = model.joint.method.reads_reports and bool(texts)
    text = seconds_of(lambda: model.joint.embed_texts(texts)) / len(texts) if reads else 0.0
    step = 0.0
    if "finetune" in fold.config.tasks:
        small = replace(cohort, train=few[0], validation=few[1], test=few[2])

        def tuned(epochs: int) -> float:
            changes = {"epochs": epochs, "batch_size": max(2, len(few[0]))}
            config = fold.config.finetune.model_copy(update=changes)
            return seconds_of(lambda: finetune_task(model, fold.store, fold.run.model.image, small, config))

        once = tuned(1)  # with what is done once; the others are epochs alone
        step = max(0.0, (tuned(3) - once) / 2 - look * len(few[1])) / len(few[0])
    return Pace(look, text, step)


def _expected(
    fold: FoldEvaluation, to_do: Sequence[Piece], took: Mapping[str, Sequence[float]], pace: Pace | None
) -> Expected | None:
    """Of pieces that another fold has made, their time there; of the others, by films and texts."""
    known = [sum(took[_task(piece)]) / len(took[_task(piece)]) for piece in to_do if _task(piece) in took]
    low = high = sum(known)
    others = [_task(piece) for piece in to_do if _task(piece) not in took]
    basis = [f"{len(known)} as long as in other folds"] if known else []
    if others:
        assert pace is not None  # measured as there are such pieces
        bounds = _by_films(fold, others, pace)
        low, high = low + bounds[0], high + bounds[1]
        basis.append(f"{len(others)} by {_FILMS} films and {_TEXTS} texts that were timed just now")
    return Expected(low, high, ", ".join(basis))


def _by_films(fold: FoldEvaluation, tasks: Sequence[str], pace: Pace) -> tuple[float, float]:
    train, validation, test = (len(part) for part in _parts(fold))
    every = train + validation + test
    low = high = 0.0
    if any(task == f"pretrained-{asked}" for task in tasks for asked in _ASKED):
        low = high = test * (pace.look + pace.text)
    # Features are made once, whatever reads them.
    own = {"pretrained-probe", "pretrained-joint-probe", "pretrained-head-both-image"}
    floors = {"floor-probe", "floor-ridge", "floor-ridge-classes", "floor-words-joint-probe"}
    trunks = bool(own & {*tasks}) + bool(floors & {*tasks})
    if {"pretrained-text-probe", "pretrained-joint-probe", "pretrained-head-text"} & {*tasks}:
        low, high = low + every * pace.text, high + every * pace.text
    low, high = low + trunks * every * pace.look, high + trunks * every * pace.look
    tuned = sum(task.endswith("-finetune") for task in tasks)
    epochs = fold.config.finetune.epochs
    epoch = train * pace.step + validation * pace.look
    # The test side is scored whenever an epoch is better than those before.
    low += tuned * (epochs * epoch + test * pace.look)
    return low, high + tuned * epochs * (epoch + test * pace.look)


def _task(piece: Piece) -> str:
    """``fold0/pretrained-probe`` to ``pretrained-probe``."""
    return piece.name.rpartition("/")[2]


def _parts(fold: FoldEvaluation) -> tuple[Any, Any, Any]:
    return fold.cohort.train, fold.cohort.validation, fold.cohort.test
