"""Where every cell of a grid stands: weights, moments, best weights, and its place in its own order of films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from crossray.evaluation.localized.config import LocalizedConfig, batches_per_epoch
from crossray.evaluation.localized.grid_adam import GridAdam
from crossray.evaluation.localized.linear_problem import LinearHead, LinearProblem
from crossray.evaluation.localized.training import film_order


class Cell(Protocol):
    """What a state needs of a cell."""

    @property
    def config(self) -> LocalizedConfig:
        """Its schedule."""
        ...

    @property
    def places(self) -> Tensor:
        """Its training films in the pool."""
        ...


class GridState:
    """Tensors with one leading row a cell.

    Attributes:
        weight, bias: ``[G, C, K]`` and ``[G, 1, K]``.
        steps: how many steps every cell that is still active has made.
    """

    def __init__(self, problem: LinearProblem, cells: Sequence[Cell], like: Tensor) -> None:
        self._cells = cells
        heads = [_fresh_head(problem, cell.config.seed) for cell in cells]
        self.weight = torch.stack([head.weight for head in heads]).to(like.dtype)
        self.bias = torch.stack([head.bias for head in heads]).to(like.dtype).unsqueeze(1)
        self._best = (self.weight.clone(), self.bias.clone())
        config = cells[0].config
        shapes = [self.weight.shape[1:], self.bias.shape[1:]]
        self._adam = GridAdam(shapes, len(cells), config.betas, decoupled=config.optimizer == "adamw", like=self.weight)
        self._decay = torch.tensor([cell.config.weight_decay for cell in cells], dtype=like.dtype)
        self._batch_size = config.batch_size
        self._batches = torch.tensor([batches_per_epoch(len(cell.places), self._batch_size) for cell in cells])
        self._order = torch.zeros(len(cells), int(self._batches.max()) * self._batch_size, dtype=torch.long)
        self._epoch = [0] * len(cells)
        self._batch = torch.zeros(len(cells), dtype=torch.long)
        self.steps = 0
        self._draw_orders(range(len(cells)))

    def next_films(self, cells: Tensor) -> Tensor:
        """``[g, batch size]`` the films of the next batch of some cells; they move on by it."""
        start = self._batch[cells] * self._batch_size
        self._batch[cells] += 1
        return self._order[cells.unsqueeze(1), start.unsqueeze(1) + torch.arange(self._batch_size)]

    def at_epoch_end(self, cells: Tensor) -> Tensor:
        """``[g]`` whether a cell has done the last whole batch of its epoch."""
        return self._batch[cells] == self._batches[cells]

    def begin_epoch(self, cells: Tensor) -> None:
        """Let some cells begin their next epoch."""
        self._batch[cells] = 0
        for cell in cells.tolist():
            self._epoch[cell] += 1
        self._draw_orders(cells.tolist())

    def update(self, cells: Tensor, gradients: list[Tensor], rates: Tensor) -> None:
        """One step of Adam."""
        rates = rates.to(self.weight.dtype)
        self._adam.update([self.weight, self.bias], gradients, cells, rates, self._decay[cells], self.steps + 1)

    def keep(self, cell: int) -> None:
        """Remember a cell's weights as its best."""
        for best, value in zip(self._best, (self.weight, self.bias), strict=True):
            best[cell] = value[cell]

    def best_head(self, cell: int) -> LinearHead:
        """What :meth:`keep` kept."""
        return LinearHead(self._best[0][cell], self._best[1][cell, 0])

    def _draw_orders(self, cells: Sequence[int]) -> None:
        for cell in cells:
            places, config = self._cells[cell].places, self._cells[cell].config
            order = places[film_order(len(places), config, self._epoch[cell])]
            whole = int(self._batches[cell]) * self._batch_size
            self._order[cell, :whole] = order[:whole]


def _fresh_head(problem: LinearProblem, seed: int) -> LinearHead:
    """The very weights that a lone run with this seed begins with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return problem.read_head(problem.make_head())
