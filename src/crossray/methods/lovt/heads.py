"""Projection heads, alone and behind a pool (`lovt` spec, sections 2.1 to 2.3)."""

from __future__ import annotations

from torch import Tensor, nn

from crossray.methods.attention_pool import AttentionPool, Pooled
from crossray.methods.masked_norm import MaskedBatchNorm
from crossray.products import Linear


class ProjectionHead(nn.Module):
    """Two linear layers with ReLU between, and batch norm before it if wanted, on ``[..., channels]``.

    Kaiming-normal weights by fan-out, for what follows each layer: ReLU, then nothing. Biases zero.
    """

    def __init__(self, channels: int, hidden: int, width: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.first = Linear(channels, hidden)
        self.norm = MaskedBatchNorm(hidden) if batch_norm else None
        self.second = Linear(hidden, width)
        nn.init.kaiming_normal_(self.first.weight, mode="fan_out", nonlinearity="relu")
        nn.init.kaiming_normal_(self.second.weight, mode="fan_out", nonlinearity="linear")
        nn.init.zeros_(self.first.bias)
        nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """``[..., width]``; only positions of the mask ``[...]`` count in the batch norm (all, if there is none)."""
        hidden = self.first(features)
        if self.norm is not None:
            hidden = self.norm(hidden, mask)
        projected: Tensor = self.second(hidden.relu())
        return projected


class PooledHead(nn.Module):
    """One vector of a film or report in the joint space: an attention pool, then a head; or the head alone.

    Args:
        head: from the width of the items to the joint space.
        pool: ``None`` projects what the encoder pooled.
    """

    def __init__(self, head: ProjectionHead, pool: AttentionPool | None) -> None:
        super().__init__()
        self.pool = pool
        self.head = head

    def forward(self, encoded: Tensor, mask: Tensor | None = None, *, padded_mean: bool = False) -> Pooled:
        """The projected vector and what each item weighed in it.

        Args:
            encoded: items ``[B, N, C]`` for a pool; ``[B, C]`` without one, and then there are no weights.
            mask: ``[B, N]``, all real if there is none.
            padded_mean: see :class:`AttentionPool`.
        """
        if self.pool is None:
            return Pooled(self.head(encoded), encoded.new_zeros(len(encoded), 0))
        mask = encoded.new_ones(encoded.shape[:2]) > 0 if mask is None else mask
        pooled = self.pool(encoded, mask, padded_mean=padded_mean)
        return Pooled(self.head(pooled.vector), pooled.weights)

    def each(self, places: Tensor) -> Tensor:
        """``[B, N, D]``: what each place ``[B, N, C]`` would give alone."""
        alone = places if self.pool is None else self.pool.each(places)
        projected: Tensor = self.head(alone)
        return projected
