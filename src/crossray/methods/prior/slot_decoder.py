"""The sentence prototype generator: from a film's regions to a set of sentences, all at once (`prior` spec, 2.7)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_POSITIONS = 512  # rows of BERT's table; those beyond the slots are never read
_TOKEN_TYPES = 2
_NORM_EPSILON = 1e-12
_INITIAL_DEVIATION = 0.02


class SlotDecoder(nn.Module):
    """Regions ``[B, R, D]`` to slots ``[B, slots, D]``: learned queries through BERT layers that look at the regions.

    Args:
        width: D, a multiple of ``heads``.
        slots: sentences it can say.
        layers: each self-attention, cross-attention and feed-forward, norms after the sums.
        heads: attention heads.
        hidden: width between the two feed-forward layers.
        dropout: of hidden states and attention.
        causal: a slot sees only those before it. The published code does that by accident (P3); it makes the
            order of slots matter for what is meant to be a set.
        head: a linear layer at the end. Layer norm fixes the length of what leaves the last layer, so that without a
            head no slot can say "no sentence", which is the zero vector (P5).
    """

    def __init__(
        self, width: int, *, slots: int, layers: int, heads: int, hidden: int, dropout: float, causal: bool, head: bool
    ) -> None:
        super().__init__()
        self._causal = causal
        self.queries = nn.Parameter(torch.randn(1, slots, width))
        self.positions = nn.Embedding(max(_POSITIONS, slots), width)
        self.token_types = nn.Embedding(_TOKEN_TYPES, width)
        self.norm = nn.LayerNorm(width, eps=_NORM_EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, heads, hidden, dropout, "gelu", layer_norm_eps=_NORM_EPSILON, batch_first=True
            )
            for _ in range(layers)
        )
        self.head = nn.Linear(width, width) if head else nn.Identity()
        self.apply(_initialise)

    def forward(self, regions: Tensor) -> Tensor:
        """The slots' vectors P."""
        slots = self.queries.shape[1]
        placed = self.queries + self.positions.weight[:slots] + self.token_types.weight[0]
        states = self.dropout(self.norm(placed.expand(len(regions), -1, -1)))
        hidden = torch.ones(slots, slots, dtype=torch.bool, device=regions.device).triu(1) if self._causal else None
        for layer in self.layers:
            states = layer(states, regions, tgt_mask=hidden)
        said: Tensor = self.head(states)
        return said


def _initialise(module: nn.Module) -> None:
    """BERT's start: normal weights, biases of zero, and no dropout between the two feed-forward layers."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=_INITIAL_DEVIATION)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.MultiheadAttention):
        nn.init.normal_(module.in_proj_weight, std=_INITIAL_DEVIATION)
    if isinstance(module, nn.TransformerDecoderLayer):
        module.dropout.p = 0.0
