"""A learned weighted mean of items, whose query is their plain mean (`lovt` spec, 2.1) or a given vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from crossray.alignment.masked import masked_softmax
from crossray.alignment.precision import full_precision, without_autocast
from crossray.errors import ConfigError


@dataclass(frozen=True)
class Pooled:
    """``vector [B, C]``, and ``weights [B, N]`` of the items: mean of the heads, 0 on padding, summing to 1."""

    vector: Tensor
    weights: Tensor


class AttentionPool(nn.Module):
    """Multi-head attention of one query, as a rule the mean of the items, to them; as ``MultiheadAttention`` gives it.

    With a single query neither keys nor values of the items need be formed: the query goes through the key's weights
    once, and the value's weights see one weighted mean of items for each head. That is ``N`` times less work. The
    key's bias adds the same to every score and so drops out of the softmax; it is kept as a weight because the
    published module has it.

    Args:
        channels: width of the items.
        heads: number of heads.
        start: how the weights begin. ``attention`` as torch's ``MultiheadAttention`` (LoVT), which draws its three maps
            as one matrix, so that Xavier's bound is smaller by the root of two; ``linear`` as four of torch's linear
            layers (PRIOR).

    Raises:
        ConfigError: the width is no multiple of the heads.
    """

    def __init__(self, channels: int, heads: int = 8, *, start: Literal["attention", "linear"] = "attention") -> None:
        super().__init__()
        if channels % heads:
            raise ConfigError(
                f"{channels} features cannot be divided among {heads} heads of an attention pool.",
                field="method.pool_heads",
                remedy=f"Choose a number of heads that divides {channels}.",
            )
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        if start == "linear":
            return
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight, gain=0.5**0.5)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.zeros_(layer.bias)

    def forward(self, items: Tensor, mask: Tensor, *, query: Tensor | None = None, padded_mean: bool = False) -> Pooled:
        """Pool ``items [B, N, C]`` by ``mask [B, N]``; ``query [B, C]`` takes the place of their mean.

        ``padded_mean`` divides the query's sum by N rather than by the real items, so that it depends on the longest
        report of the batch: what the published code does (section 5.3).
        """
        with without_autocast(items):
            items = full_precision(items).masked_fill(~mask.unsqueeze(2), 0.0)
            if query is None:
                size = items.shape[1] if padded_mean else mask.sum(dim=1, keepdim=True).clamp_min(1)
                query = items.sum(dim=1) / size
            by_head = self.query(full_precision(query)).view(len(items), self.heads, -1)
            into_items = torch.einsum("bhd,hdc->bhc", by_head, self._by_head(self.key))
            scores = into_items @ items.mT / by_head.shape[2] ** 0.5
            attention = masked_softmax(scores, mask.unsqueeze(1), dim=2)  # [B, heads, N]
            values = torch.einsum("bhc,hdc->bhd", attention @ items, self._by_head(self.value))
            return Pooled(self.output(values.flatten(1) + self.value.bias), attention.mean(dim=1))

    def each(self, items: Tensor) -> Tensor:
        """``[B, N, C]``: what pooling each item alone gives (it then has all of the weight)."""
        output: Tensor = self.output(self.value(items))
        return output

    def _by_head(self, layer: nn.Linear) -> Tensor:
        """``[heads, C / heads, C]``."""
        return layer.weight.view(self.heads, -1, layer.weight.shape[1])
