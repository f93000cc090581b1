"""JoImTeRNet's own CNN for films of one channel, behind the few methods of timm that `ImageEncoder` uses.

Spec: `joimternet`, sections 2.1 and 2.3. A stem and six stages of two residual blocks, no max-pool; two of the stages
end in soft attention. Two presets:

- ``joimternet_paper2048``: the published strides. A side is divided by 128 up to the regions, so 2048 pixels give
  16 x 16 regions, and 256 pixels only 2 x 2.
- ``joimternet_reduced``: stem and fifth stage with stride 1, so that 256 pixels give 16 x 16 regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.errors import ConfigError

PRESETS: dict[str, tuple[int, int]] = {"joimternet_paper2048": (4, 2), "joimternet_reduced": (1, 1)}
"""Strides of the stem and of the fifth stage."""

_STEM_CHANNELS = 8
_STAGES = 6
_ATTENTIVE_STAGES = (4, 5)
_POOLED_SIDE = 2


class SoftAttention(nn.Conv2d):
    """``x (1 + lambda A)``: A is the sum of ``heads`` softmaxes over places, so the places of A sum to ``heads``.

    Args:
        channels: of x.
        heads: maps that are added; this convolution's output channels.
    """

    def __init__(self, channels: int, heads: int = 16) -> None:
        super().__init__(channels, heads, kernel_size=1)
        self.strength = nn.Parameter(torch.rand(()))

    def attention(self, maps: Tensor) -> Tensor:
        """A, ``[B, 1, rows, columns]`` of ``maps [B, C, rows, columns]``."""
        logits: Tensor = F.leaky_relu(super().forward(maps), 0.01)
        attention = logits.flatten(2).softmax(dim=2).sum(dim=1, keepdim=True)
        return attention.view(len(maps), 1, *maps.shape[2:])

    def forward(self, maps: Tensor) -> Tensor:
        """The maps, each place scaled by its attention."""
        return maps * (1 + self.strength * self.attention(maps))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm around a skip, which is projected where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.skip = nn.Sequential(nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, maps: Tensor) -> Tensor:
        """``[B, channels, rows, columns]`` to ``[B, width, rows / stride, columns / stride]``."""
        hidden = F.relu(self.norm1(self.conv1(maps)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.skip(maps))


class JoImTeRNetCNN(nn.Module):
    """The trunk: stage 5 is where regions are taken from, stage 6 pooled to 2 x 2 is the pooled feature.

    Args:
        in_channels: of the films.
        stem_stride: of the first convolution.
        fifth_stride: of the fifth stage.
        width: channels of the stem; each stage doubles them.
    """

    def __init__(self, in_channels: int, stem_stride: int, fifth_stride: int, width: int = _STEM_CHANNELS) -> None:
        super().__init__()
        self.pretrained_cfg = {"first_conv": "stem.0"}
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 7, stride=stem_stride, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        reduction = stem_stride
        self.feature_info: list[dict[str, Any]] = []
        for number in range(1, _STAGES + 1):
            channels, stride = width * 2**number, fifth_stride if number == 5 else 2
            reduction *= stride
            parts: list[nn.Module] = [ResidualBlock(channels // 2, channels, stride)]
            parts.append(ResidualBlock(channels, channels, 1))
            if number in _ATTENTIVE_STAGES:
                parts.append(SoftAttention(channels))
            self.add_module(f"layer{number}", nn.Sequential(*parts))
            self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": f"layer{number}"})
        self.num_features: int = width * 2**_STAGES
        self.head_hidden_size: int = self.num_features * _POOLED_SIDE**2
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_intermediates(
        self, pixels: Tensor, indices: list[int], norm: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """The last stage's maps, and those of the stages ``indices`` (from 0). There is no final norm to apply."""
        maps = self.stem(pixels)
        stages = []
        for stage in self.feature_info:
            maps = self.get_submodule(stage["module"])(maps)
            stages.append(maps)
        return maps, [stages[index] for index in indices]

    def forward_head(self, maps: Tensor, pre_logits: bool = True) -> Tensor:
        """Pooled to 2 x 2 and flattened, channel by channel: ``[B, 4 C]``. There is no classifier."""
        return F.adaptive_avg_pool2d(maps, _POOLED_SIDE).flatten(1)

    def forward(self, pixels: Tensor) -> Tensor:
        """The pooled feature."""
        return self.forward_head(self.forward_intermediates(pixels, indices=[])[0])


def create_joimternet_cnn(name: str, in_channels: int, options: Mapping[str, Any]) -> JoImTeRNetCNN:
    """The trunk of a preset; ``options`` may hold ``width``, the channels of the stem.

    Raises:
        ConfigError: another option is given.
    """
    unknown = sorted(set(options) - {"width"})
    if unknown:
        raise ConfigError(
            f"{name} has no option '{unknown[0]}'.", field="image_encoder.trunk_options", remedy="It knows width only."
        )
    stem_stride, fifth_stride = PRESETS[name]
    return JoImTeRNetCNN(in_channels, stem_stride, fifth_stride, **options)
