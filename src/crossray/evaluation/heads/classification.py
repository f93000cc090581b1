"""The linear head of the classification tasks."""

from __future__ import annotations

from torch import Tensor, nn

from crossray.evaluation.heads.maps import FeatureMaps, MapChannels

_LAYER_NORM_EPS = 1e-6


class LinearClassification(nn.Module):
    """Dropout and one linear layer on the pooled feature.

    Spec: ``downstream_protocols``, section 2. LoVT drops a fifth, GLoRIA and MGCA nothing. BenchX (8.1) may normalise
    the feature first (LN) and begin with weights of almost nothing (TNI).

    Args:
        channels: of the trunk.
        classes: how many logits.
        dropout: share of the feature.
        layer_norm: before it.
        weight_std: of the normal distribution, cut at -2 and 2, that the first weights are drawn from; PyTorch's own
            first weights if ``None``.
    """

    def __init__(
        self,
        channels: MapChannels,
        classes: int,
        dropout: float = 0.0,
        *,
        layer_norm: bool = False,
        weight_std: float | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels.pooled, eps=_LAYER_NORM_EPS) if layer_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(channels.pooled, classes)
        if weight_std is not None:
            nn.init.trunc_normal_(self.classify.weight, std=weight_std)

    def forward(self, maps: FeatureMaps) -> Tensor:
        """Logits ``[B, classes]``."""
        logits: Tensor = self.classify(self.dropout(self.norm(maps.pooled)))
        return logits
