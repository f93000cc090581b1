"""Bigrams and trigrams of a report's items: JoImTeRNet's older "phrase" variant (`joimternet` spec, section 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZES = {"bigram": 2, "trigram": 3}
_LAYER_NORM_EPSILON = 1e-12


class PhraseFeatures(nn.Module):
    """Convolution over neighbouring items, GELU, a layer norm that both sizes share, and a projection for each size.

    Args:
        channels: of the items.
        width: of the joint space.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict({name: nn.Conv1d(channels, channels, size) for name, size in SIZES.items()})
        self.norm = nn.LayerNorm(channels, eps=_LAYER_NORM_EPSILON)
        self.projections = nn.ModuleDict({name: nn.Linear(channels, width) for name in SIZES})

    def forward(self, items: Tensor) -> dict[str, Tensor]:
        """``[B, W, width]`` for each size: phrase k begins with item k of ``items [B, W, C]``."""
        phrases = {}
        for name, size in SIZES.items():
            padded = F.pad(items, (0, 0, 0, size - 1)).transpose(1, 2)
            convolved = self.convolutions[name](padded).transpose(1, 2)
            phrases[name] = self.projections[name](self.norm(F.gelu(convolved)))
        return phrases


def phrase_mask(counted: Tensor, size: int) -> Tensor:
    """``[B, W]`` bool: whether all ``size`` items of the phrase that begins here are among ``counted [B, W]``."""
    ahead = [F.pad(counted[:, step:], (0, min(step, counted.shape[1]))) for step in range(size)]
    return torch.stack(ahead).all(dim=0)
