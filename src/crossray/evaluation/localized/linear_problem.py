"""Linear heads as matrices: what a grid of them has in common.

A 1 x 1 convolution on the last map and a linear layer on the pooled feature are the same thing: a matrix ``[C, K]``
and a bias ``[K]`` that are applied at every place of a film. A film has P places, h w of its map or 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossray.evaluation.heads.classification import LinearClassification
from crossray.evaluation.heads.maps import MapChannels
from crossray.evaluation.heads.segmentation import LinearSegmentation, enlarge
from crossray.evaluation.localized.parts import CachedMaps


@dataclass(frozen=True)
class LinearHead:
    """Weight ``[C, K]`` and bias ``[K]``; of G heads ``[G, C, K]`` and ``[G, 1, K]``."""

    weight: Tensor
    bias: Tensor


class LinearProblem:
    """How a linear head is made, fed and read.

    Args:
        channels: of the trunk.
        classes: K.
        segmentation: on the last map; otherwise on the pooled feature.
    """

    def __init__(self, channels: MapChannels, classes: int, *, segmentation: bool) -> None:
        self.channels, self.classes, self.segmentation = channels, classes, segmentation

    def make_head(self) -> nn.Module:
        """A head with fresh weights, as a lone run makes it."""
        make: Callable[[MapChannels, int], nn.Module] = (
            LinearSegmentation if self.segmentation else LinearClassification
        )
        return make(self.channels, self.classes)

    def read_head(self, head: nn.Module) -> LinearHead:
        """The weights of a head as matrices, copied."""
        layer = _layer(head)
        return LinearHead(layer.weight.detach().flatten(1).T.clone(), _bias(layer).detach().clone())

    def write_head(self, weights: LinearHead) -> nn.Module:
        """A head with these weights."""
        head = self.make_head().to(weights.weight.dtype)
        layer = _layer(head)
        with torch.no_grad():
            layer.weight.copy_(weights.weight.T.view_as(layer.weight))
            _bias(layer).copy_(weights.bias)
        return head

    def features(self, pool: CachedMaps) -> Tensor:
        """``[N, P, C]`` of a pool; a view where its maps have channels last."""
        if not self.segmentation:
            return pool.maps.pooled.unsqueeze(1)
        return pool.maps.at(self.channels.coarsest).permute(0, 2, 3, 1).flatten(1, 2)

    def outputs(self, logits: Tensor, pool: CachedMaps) -> Tensor:
        """What the head gives of ``logits [n, P, K]``: ``[n, K, height, width]``, or ``[n, K]``."""
        if not self.segmentation:
            return logits[:, 0]
        rows, columns = pool.maps.at(self.channels.coarsest).shape[2:]
        return enlarge(logits.transpose(1, 2).reshape(len(logits), -1, rows, columns), pool.maps.size)

    def numbers_of_a_film(self, pool: CachedMaps) -> int:
        """How many numbers one film costs a training step, roughly: its features and what its outputs are made of."""
        features = self.features(pool)
        pixels = pool.maps.size[0] * pool.maps.size[1] * self.classes if self.segmentation else self.classes
        return features.shape[1] * features.shape[2] + _PASSES * pixels


_PASSES = 6  # logits, probabilities, their products and gradients are held at once


def _layer(head: nn.Module) -> nn.Conv2d | nn.Linear:
    assert isinstance(head, LinearSegmentation | LinearClassification)  # make_head makes no other
    layer: nn.Conv2d | nn.Linear = head.classify
    return layer


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    assert layer.bias is not None  # linear heads have one
    return layer.bias
