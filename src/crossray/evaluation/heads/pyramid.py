"""A simple feature pyramid: a plain ViT's one map at strides 4, 8, 16 and 32 (ViTDet).

Finer levels are made by transposed convolutions, the coarser one by pooling, and each is brought to the same width. The
pyramid belongs to the head: it learns, and the trunk below it may be frozen.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from crossray.evaluation.heads.maps import INPUT, FeatureMaps, MapChannels

STRIDES = (4, 8, 16, 32)
_USUAL_STRIDE = 16


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place of ``[B, C, rows, columns]``."""

    def forward(self, maps: Tensor) -> Tensor:
        """The same shape."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SimplePyramid(nn.Module):
    """The last map of a trunk to :class:`FeatureMaps` of several strides, the film itself among them.

    A patch that is no power of two between 8 and 32 (a ViT/14) is first resampled to stride 16.

    Args:
        channels: of the trunk.
        strides: of the levels, from :data:`STRIDES`.
        width: channels of every level.

    Attributes:
        channels: of what comes out.
    """

    def __init__(self, channels: MapChannels, strides: tuple[int, ...] = STRIDES, width: int = 256) -> None:
        super().__init__()
        self.stride = channels.coarsest
        self.strides = strides
        self._resampled = self.stride not in (8, 16, 32)
        base = _USUAL_STRIDE if self._resampled else self.stride
        self.levels = nn.ModuleList(_level(channels.at(self.stride), width, base, stride) for stride in strides)
        by_stride = {INPUT: channels.at(INPUT)} | dict.fromkeys(strides, width)
        self.channels = MapChannels(by_stride, channels.pooled)

    def forward(self, maps: FeatureMaps) -> FeatureMaps:
        """``maps`` with its last map in several strides instead of one."""
        last = maps.at(self.stride)
        if self._resampled:
            size = (maps.size[0] // _USUAL_STRIDE, maps.size[1] // _USUAL_STRIDE)
            last = F.interpolate(last, size, mode="bilinear", align_corners=False)
        levels = {stride: level(last) for stride, level in zip(self.strides, self.levels, strict=True)}
        return FeatureMaps({INPUT: maps.at(INPUT)} | levels, maps.size, maps.pooled)


def _level(channels: int, width: int, base: int, stride: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in range(max(0, round(math.log2(base / stride)))):
        if step:
            layers += [ChannelNorm(channels), nn.GELU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2))
        channels //= 2
    if stride > base:
        layers.append(nn.MaxPool2d(stride // base))
    layers += [nn.Conv2d(channels, width, 1, bias=False), ChannelNorm(width)]
    layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), ChannelNorm(width)]
    return nn.Sequential(*layers)
