"""Exponential moving average of the weights: what is validated, and what is kept as the best."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from crossray.training.sharding import own_part, shared_out_like


class MovingAverage:
    """The average of a model's floating-point state, ``average += (1 - decay) * (value - average)`` after every step.

    Integer state (counters) is the model's own.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.average = {name: value.detach().clone() for name, value in _floating(model).items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of one more step."""
        current = _floating(self._model)
        averages = [own_part(average) for average in self.average.values()]
        torch._foreach_lerp_(averages, [own_part(current[name]) for name in self.average], 1.0 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with the averaged weights inside the block, with its own again after it."""
        own = {name: value.detach().clone() for name, value in _floating(self._model).items()}
        _copy_into(self._model, self.average)
        try:
            yield
        finally:
            _copy_into(self._model, own)

    def restore(self, average: dict[str, Tensor]) -> None:
        """Go on from a saved average."""
        for name, value in average.items():
            self.average[name].copy_(shared_out_like(value, self.average[name]))


def _floating(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}


@torch.no_grad()
def _copy_into(model: nn.Module, values: dict[str, Tensor]) -> None:
    for name, value in _floating(model).items():
        value.copy_(values[name])
