"""Adam for G problems side by side: PyTorch's arithmetic, with a learning rate and a decay a problem."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EPSILON = 1e-8


class GridAdam:
    """Moments of G problems that start together and make a step at every tick until they leave.

    Args:
        shapes: of a problem's tensors, without the leading G.
        problems: G.
        betas: of the moments.
        decoupled: take the decay from the weights (AdamW) instead of adding it to the gradient.
        like: dtype and device.
    """

    def __init__(
        self, shapes: list[torch.Size], problems: int, betas: tuple[float, float], *, decoupled: bool, like: Tensor
    ) -> None:
        self.first = [like.new_zeros(problems, *shape) for shape in shapes]
        self.second = [like.new_zeros(problems, *shape) for shape in shapes]
        self.betas, self.decoupled = betas, decoupled

    def update(
        self, values: list[Tensor], gradients: list[Tensor], which: Tensor, rates: Tensor, decays: Tensor, step: int
    ) -> None:
        """One step of the problems ``which [g]``, in place.

        Args:
            values: of all problems, ``[G, ...]`` each.
            gradients: of these, ``[g, ...]`` each.
            which: their places among the G.
            rates, decays: ``[g]``.
            step: how many steps they have made with this one; the same for all.
        """
        one, two = self.betas
        for value, gradient, first, second in zip(values, gradients, self.first, self.second, strict=True):
            rate, decay = (each.view(-1, *[1] * (gradient.ndim - 1)) for each in (rates, decays))
            old = value[which]
            if self.decoupled:
                old = old * (1 - rate * decay)
            else:
                gradient = gradient + decay * old
            mean = first[which].lerp(gradient, 1 - one)
            square = second[which].mul(two).addcmul(gradient, gradient, value=1 - two)
            scale = (square.sqrt() / math.sqrt(1 - two**step)).add(_EPSILON)
            value[which] = old - rate / (1 - one**step) * (mean / scale)
            first[which], second[which] = mean, square
