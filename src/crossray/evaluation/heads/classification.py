"""The linear head of the classification tasks."""

from __future__ import annotations

from torch import Tensor, nn

from crossray.evaluation.heads.maps import FeatureMaps, MapChannels


class LinearClassification(nn.Module):
    """Dropout and one linear layer on the pooled feature.

    Spec: ``downstream_protocols``, section 2. LoVT drops a fifth, GLoRIA and MGCA nothing.
    """

    def __init__(self, channels: MapChannels, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(channels.pooled, classes)

    def forward(self, maps: FeatureMaps) -> Tensor:
        """Logits ``[B, classes]``."""
        logits: Tensor = self.classify(self.dropout(maps.pooled))
        return logits
