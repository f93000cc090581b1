"""Batch norm over real positions only (`lovt` spec, section 5.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossray.alignment.precision import full_precision, without_autocast


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch norm of ``[..., C]`` whose statistics are those of the real positions of a mask ``[...]``.

    In training the statistics are those of the positions it is given (one process's own). A batch of one position has
    no spread: it becomes the bias. With none, everything stays finite and the running statistics stay as they are.
    """

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """The normalised positions, padding included (with the same statistics)."""
        with without_autocast(input):
            values = full_precision(input)
            if mask is None and values.numel() > self.num_features:  # torch's own refuses to learn from one position
                return super().forward(values.flatten(0, -2)).view_as(values)
            mean, variance = self._statistics(values, mask)
            normalised = (values - mean) * (variance + self.eps).rsqrt()
            return normalised * self.weight + self.bias if self.affine else normalised

    def _statistics(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return self.running_mean, self.running_var
        flat = values.flatten(0, -2)
        real = flat.new_ones(len(flat), 1) if mask is None else mask.reshape(-1, 1).to(flat.dtype)
        count = real.sum()
        mean = (flat * real).sum(dim=0) / count.clamp_min(1)
        variance = ((flat - mean).square() * real).sum(dim=0) / count.clamp_min(1)
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach(), count)
        return mean, variance

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics; the variance is the unbiased one, as in torch."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        step = (self.momentum or 0.0) * (count > 0)
        self.running_mean += step * (mean - self.running_mean)
        self.running_var += step * (variance * count / (count - 1).clamp_min(1) - self.running_var)
