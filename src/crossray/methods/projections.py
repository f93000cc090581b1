"""Heads from an encoder's features to the joint space."""

from __future__ import annotations

from typing import Literal

from torch import nn

from crossray.products import Linear

ProjectionKind = Literal["linear", "mlp", "mlp_batch_norm"]


def projection(kind: ProjectionKind, channels: int, hidden: int | None, width: int) -> nn.Module:
    """A head ``[B, channels]`` to ``[B, width]``; ``hidden`` is the MLP's middle width (default: ``channels``).

    ``mlp`` has one hidden ReLU layer. ``mlp_batch_norm`` normalises after each linear layer, the last time without
    learned scale (the MGCA repository's head); its statistics are those of each process' own batch.
    """
    middle = hidden or channels
    match kind:
        case "linear":
            return Linear(channels, width)
        case "mlp":
            return nn.Sequential(Linear(channels, middle), nn.ReLU(), Linear(middle, width))
        case "mlp_batch_norm":
            return nn.Sequential(
                Linear(channels, middle),
                nn.BatchNorm1d(middle),
                nn.ReLU(),
                Linear(middle, width),
                nn.BatchNorm1d(width, affine=False),
            )
