"""An image encoder as a source of maps, frozen or free.

A frozen trunk has no gradient and stays in evaluation mode, whatever its owner does: after a frozen task every
parameter and buffer is bit-identical (numeric check E10).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from crossray.encoders.features import FeatureStage
from crossray.encoders.image import ImageEncoder
from crossray.evaluation.heads.maps import INPUT, FeatureMaps, MapChannels


class MapTrunk(nn.Module):
    """Normalised films ``[B, 1, height, width]`` to :class:`FeatureMaps`.

    A CNN gives the last map of every stride that it passes through (a ResNet: 2, 4, 8, 16, 32), a plain ViT its last
    map alone, after its final norm.

    Args:
        encoder: any trunk. It is not copied.
        strides: of the maps that are kept, :data:`INPUT` among them if the film itself is wanted; all if ``None``.

    Attributes:
        channels: what heads are built for.
    """

    def __init__(self, encoder: ImageEncoder, strides: Collection[int] | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        stages = _last_stage_of_each_stride(encoder.stages)
        known = {INPUT: encoder.config.in_channels} | {stride: encoder.stages[i].channels for stride, i in stages}
        flat = len({stage.reduction for stage in encoder.stages}) == 1
        self.channels = MapChannels(known, encoder.pooled_channels, flat)
        wanted = known.keys() if strides is None else strides
        self._stages = {stride: index for stride, index in stages if stride in wanted}
        self._keeps_input = INPUT in wanted
        self.frozen = False

    def forward(self, pixels: Tensor) -> FeatureMaps:
        """Run the trunk once, without gradient where it is frozen."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            run = self.encoder.stage_maps(pixels, list(self._stages.values()))
        maps = dict(zip(self._stages, run.maps, strict=True))
        if self._keeps_input:
            maps[INPUT] = run.pixels
        height, width = run.pixels.shape[2:]
        return FeatureMaps(maps, (height, width), run.pooled)

    def freeze(self) -> MapTrunk:
        """No gradient, evaluation mode, until :meth:`release`."""
        self.frozen = True
        return self.train(False)

    def release(self) -> MapTrunk:
        """Let the trunk learn; its mode stays what it is until ``train`` is called."""
        self.frozen = False
        return self

    def train(self, mode: bool = True) -> MapTrunk:
        """Training mode, unless the trunk is frozen."""
        super().train(mode and not self.frozen)
        return self


def _last_stage_of_each_stride(stages: tuple[FeatureStage, ...]) -> list[tuple[int, int]]:
    """``(stride, stage)``, ascending: the later of two stages with the same stride has seen more of the film."""
    return sorted({stage.reduction: index for index, stage in enumerate(stages)}.items())
