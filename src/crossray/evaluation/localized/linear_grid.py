"""Linear heads of a whole grid (learning rate x seed x fraction) trained together on maps that were computed once.

Each cell has its own films and order, its own learning rate with its own plateau, its own early stop and best weights;
cells share matrix products. A cell ends where it would have ended alone, whatever the others do: a step of one cell
reads nothing of another, and one that has stopped leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from crossray.errors import ConfigError
from crossray.evaluation.localized.config import LocalizedConfig, batches_per_epoch
from crossray.evaluation.localized.grid_state import GridState
from crossray.evaluation.localized.linear_problem import LinearHead, LinearProblem
from crossray.evaluation.localized.model import Validation
from crossray.evaluation.localized.parts import CachedMaps, LocalizedPart
from crossray.evaluation.localized.scorers import Scorer
from crossray.evaluation.localized.tasks import ClassificationTask, SegmentationTask
from crossray.evaluation.localized.watch import EpochRecord, Watch

PredictionT = TypeVar("PredictionT")

_CHUNK_NUMBERS = 2**25
"""Numbers that a chunk of cells may hold at once, 128 MB in single precision: this bounds the memory of a step."""

Progress = Callable[[int, EpochRecord], None]


@dataclass(frozen=True)
class GridCell:
    """One head: its schedule and the places ``[n]`` of its training films in the pool."""

    config: LocalizedConfig
    places: Tensor


@dataclass(frozen=True)
class GridCellResult:
    """A finished cell: its head with the weights of the best epoch, that epoch, and every epoch that was run."""

    head: nn.Module
    best: EpochRecord
    history: tuple[EpochRecord, ...]


def train_linear_grid(
    problem: LinearProblem,
    task: SegmentationTask | ClassificationTask,
    train: LocalizedPart[Tensor],
    validation: LocalizedPart[Tensor],
    cells: Sequence[GridCell],
    scorer: Callable[[], Scorer[Tensor, Tensor]],
    progress: Progress | None = None,
) -> list[GridCellResult]:
    """Train all cells; cells of one batch size and optimiser form one batched problem.

    Args:
        problem: what the heads are.
        task: loss and prediction.
        train: the pool (its ``inputs`` are :class:`CachedMaps`); every cell has its own places.
        validation: films that every cell is measured on, from maps too.
        cells: the grid.
        scorer: makes the validation metric, for each cell and epoch afresh.
        progress: called with the cell's place after each of its epochs.

    Raises:
        ConfigError: a cell has fewer films than a batch, wants to fine-tune or has another kind of steps, or inputs are
            films and not maps.
    """
    pools = [_pool_of(part) for part in (train, validation)]
    for cell in cells:
        batches_per_epoch(len(cell.places), cell.config.batch_size)
        if cell.config.trunk_learns:
            raise ConfigError("a grid shares one frozen trunk; no cell can fine-tune it.", field="trunk")
        if not cell.config.is_grid_wide:
            raise ConfigError(
                "a grid knows no cosine, clipping, SGD, or epochs that are not looked at.", field="schedule"
            )
    results: dict[int, GridCellResult] = {}
    for members in _alike(cells):
        group = _Group(problem, task, train, validation, pools, [cells[place] for place in members])
        finished = group.run(scorer, None if progress is None else _renumbered(progress, members))
        results |= dict(zip(members, finished, strict=True))
    return [results[place] for place in range(len(cells))]


class _Group:
    """Cells of one batch size and optimiser: they make every step together."""

    def __init__(
        self,
        problem: LinearProblem,
        task: SegmentationTask | ClassificationTask,
        train: LocalizedPart[Tensor],
        validation: LocalizedPart[Tensor],
        pools: list[CachedMaps],
        cells: list[GridCell],
    ) -> None:
        self.problem, self.task, self.train, self.validation = problem, task, train, validation
        self.pools = pools
        self.features = problem.features(pools[0])
        self.validation_features = problem.features(pools[1])
        self.batch_size = cells[0].config.batch_size
        self.watches = [Watch(cell.config) for cell in cells]
        self.state = GridState(problem, cells, self.features)
        numbers = problem.numbers_of_a_film(pools[0]) * self.batch_size
        self.at_once = max(1, _CHUNK_NUMBERS // numbers)

    def run(self, scorer: Callable[[], Scorer[Tensor, Tensor]], progress: Progress | None) -> list[GridCellResult]:
        """Until the last cell has stopped."""
        active = torch.arange(len(self.watches))
        while len(active):
            rows = self.state.next_films(active)
            rates = torch.tensor([self.watches[cell].plateau.rate for cell in active.tolist()])
            for chunk in torch.split(torch.arange(len(active)), self.at_once):
                self._step(active[chunk], rows[chunk], rates[chunk])
            self.state.steps += 1
            ended = active[self.state.at_epoch_end(active)]
            if len(ended):
                self._validate(ended, scorer, progress)
                over = torch.tensor([self.watches[cell].is_over for cell in active.tolist()])
                active = active[~over]
        return [
            GridCellResult(self.problem.write_head(self.state.best_head(cell)), watch.best, tuple(watch.history))
            for cell, watch in enumerate(self.watches)
        ]

    def _step(self, cells: Tensor, rows: Tensor, rates: Tensor) -> None:
        """One step of some cells, ``rows [g, b]`` being their films."""
        g, b = rows.shape
        weight, bias = (values[cells].requires_grad_(True) for values in (self.state.weight, self.state.bias))
        films = self.features[rows.flatten()].view(g, -1, self.features.shape[2])
        logits = torch.baddbmm(bias, films, weight).view(g * b, -1, weight.shape[2])
        outputs = _by_cell(self.problem.outputs(logits, self.pools[0]), g)
        truth = _by_cell(self.train.targets(rows.flatten()), g)
        losses = torch.func.vmap(self.task.loss)(outputs, truth)
        gradients = torch.autograd.grad(losses.sum(), [weight, bias])
        self.state.update(cells, list(gradients), rates)

    def _validate(self, cells: Tensor, scorer: Callable[[], Scorer[Tensor, Tensor]], progress: Progress | None) -> None:
        """Measure the cells that ended an epoch, and keep the weights of those that are better than before."""
        for chunk in torch.split(cells, self.at_once):
            measured = self._measure(LinearHead(self.state.weight[chunk], self.state.bias[chunk]), scorer)
            for cell, of_cell in zip(chunk.tolist(), measured, strict=True):
                if self.watches[cell].observe(of_cell.loss, of_cell.metric):
                    self.state.keep(cell)
                if progress is not None:
                    progress(cell, self.watches[cell].history[-1])
        self.state.begin_epoch(cells)

    @torch.no_grad()
    def _measure(self, heads: LinearHead, scorer: Callable[[], Scorer[Tensor, Tensor]]) -> list[Validation]:
        """Loss and metric of g heads; they read the same films, so one product of matrices serves all."""
        g, channels, classes = heads.weight.shape
        flat = heads.weight.permute(1, 0, 2).reshape(channels, g * classes)
        scores, totals = [scorer() for _ in range(g)], torch.zeros(g, dtype=torch.float64)
        for places in torch.split(self.validation.places, self.batch_size):
            films = self.validation_features[places]
            logits = (films.flatten(0, 1) @ flat).view(len(places), -1, g, classes) + heads.bias[:, 0]
            by_head = logits.permute(2, 0, 1, 3).flatten(0, 1)
            outputs = _by_cell(self.problem.outputs(by_head, self.pools[1]), g)
            truth = self.validation.targets(places)
            losses = torch.func.vmap(self.task.loss, in_dims=(0, None))(outputs, truth)
            totals += losses.double() * len(places)
            for score, of_head in zip(scores, self.task.predict(outputs), strict=True):
                score.add(of_head, truth)
        films_measured = max(1, len(self.validation))
        return [
            Validation(total / films_measured, score.value())
            for total, score in zip(totals.tolist(), scores, strict=True)
        ]


def _by_cell(values: Tensor, cells: int) -> Tensor:
    """``[g b, ...]`` to ``[g, b, ...]``."""
    return values.view(cells, -1, *values.shape[1:])


def _pool_of(part: LocalizedPart[Tensor]) -> CachedMaps:
    if not isinstance(part.inputs, CachedMaps):
        raise ConfigError(
            "a grid of linear heads is trained on maps that were made before.",
            field="inputs",
            remedy="Make them with frozen_maps.",
        )
    return part.inputs


def _alike(cells: Sequence[GridCell]) -> list[list[int]]:
    """Places of the cells that can step together."""
    groups: dict[tuple[int, str, tuple[float, float]], list[int]] = {}
    for place, cell in enumerate(cells):
        config = cell.config
        groups.setdefault((config.batch_size, config.optimizer, config.betas), []).append(place)
    return list(groups.values())


def _renumbered(progress: Progress, members: list[int]) -> Progress:
    return lambda cell, record: progress(members[cell], record)
