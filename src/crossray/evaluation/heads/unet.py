"""The U-Net that the localized tasks are fine-tuned with, on any trunk.

Spec: ``localized_evaluation``, section 3.2. On a ResNet-50 it has 124,300,609 weights outside the trunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossray.evaluation.heads.maps import INPUT, FeatureMaps, MapChannels
from crossray.evaluation.heads.sizes import require_multiple

_SKIPS = (16, 8, 4, 2, INPUT)
_DEEPEST = 32


@dataclass(frozen=True)
class UNetWidths:
    """Channels of the bridge and after each of the five steps up."""

    bridge: int = 2048
    steps: tuple[int, int, int, int, int] = (1024, 512, 256, 128, 64)


class UNet(nn.Module):
    """Maps at strides 32, 16, 8, 4, 2 and the film to logits ``[B, classes, height, width]``.

    A stride of the way up that the trunk does not have (2, of a ConvNeXt or a pyramid) is passed without a skip.

    Args:
        channels: of the trunk or pyramid; stride 32 is required.
        classes: channels of the logits.
        widths: of the published head by default.

    Raises:
        ConfigError: the trunk has no map of stride 32, or (at run time) a side is no multiple of 32.
    """

    def __init__(self, channels: MapChannels, classes: int, widths: UNetWidths | None = None) -> None:
        super().__init__()
        widths = widths or UNetWidths()
        deepest = channels.at(_DEEPEST)
        self.bridge = nn.Sequential(conv_block(deepest, widths.bridge), conv_block(widths.bridge, widths.bridge))
        incoming = (widths.bridge, *widths.steps)
        self.steps = nn.ModuleList(
            UpStep(below, channels.by_stride.get(stride, 0), width)
            for below, width, stride in zip(incoming, widths.steps, _SKIPS, strict=False)
        )
        self.classify = nn.Conv2d(widths.steps[-1], classes, 1)

    def forward(self, maps: FeatureMaps) -> Tensor:
        """Logits at the film's size."""
        require_multiple(maps.size, _DEEPEST, "unet")
        path: Tensor = self.bridge(maps.at(_DEEPEST))
        for step, stride in zip(self.steps, _SKIPS, strict=True):
            path = step(path, maps.maps.get(stride))
        logits: Tensor = self.classify(path)
        return logits


class UpStep(nn.Module):
    """Double the side, lay the skip beside it, and mix them with two blocks."""

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        self.larger = nn.ConvTranspose2d(below, width, kernel_size=2, stride=2)
        self.mix = nn.Sequential(conv_block(width + skip, width), conv_block(width, width))

    def forward(self, below: Tensor, skip: Tensor | None) -> Tensor:
        """``[B, width, 2 rows, 2 columns]``."""
        path = self.larger(below)
        mixed: Tensor = self.mix(path if skip is None else torch.cat([path, skip], dim=1))
        return mixed


def conv_block(channels: int, width: int) -> nn.Sequential:
    """3 x 3 convolution with bias, batch norm, ReLU."""
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
