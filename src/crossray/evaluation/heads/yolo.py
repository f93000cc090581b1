"""The YOLOv3 head of the detection tasks: three scales, three anchors each.

Spec: ``localized_evaluation``, section 3.3; ``downstream_protocols``, section 6. On a ResNet-50 with one class it has
21,626,934 weights and gives 3,087 candidate boxes of a film of 224 pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.evaluation.heads.maps import FeatureMaps, MapChannels
from crossray.evaluation.heads.pyramid import SimplePyramid
from crossray.evaluation.heads.segmentation import OnPyramid
from crossray.evaluation.heads.sizes import require_multiple
from crossray.settings import Settings

SCALES = (32, 16, 8)
"""Strides of the three scales, coarse first."""

_ANCHORS = 3
_WIDTHS = ((512, 1024), (256, 512), (128, 256))
_ANCHOR_UNITS = 224.0
_COCO_UNITS = 416.0
_COCO_ANCHORS = (
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
)
_LOVT_FACTOR = 0.54
_LOVT_TYPO = 64.64  # the release writes this where 116 x 0.54 = 62.64


class YoloConfig(Settings):
    """What the published detection protocols differ in.

    Attributes:
        anchors: ``lovt`` are the anchors of COCO's YOLOv3 x 0.54, ``mgca`` the same x 224/416.
        preset: ``clean`` measures overlap of shapes and boxes by their area. ``legacy`` adds one to every side, in
            cells for the targets and in pixels for the suppression, and keeps LoVT's typo in the first anchor (64.64
            instead of 62.64).
        class_term: ``several`` leaves the class term out where there is one class (LoVT), ``always`` never (MGCA).
        confidence: boxes below it are dropped; it cuts the precision-recall curve short.
        suppression: of two boxes of a class that overlap this much, the one with less confidence goes.
    """

    anchors: Literal["lovt", "mgca"] = "lovt"
    preset: Literal["clean", "legacy"] = "clean"
    class_term: Literal["several", "always"] = "several"
    confidence: float = Field(default=0.2, ge=0, le=1)
    suppression: float = Field(default=0.4, gt=0, le=1)

    @property
    def overlap_margin(self) -> float:
        """What is added to a side before areas are taken."""
        return 1.0 if self.preset == "legacy" else 0.0


def anchor_shapes(config: YoloConfig, side: int = 224) -> Tensor:
    """``[3, 3, 2]`` scales x anchors x (width, height), in pixels of a film of ``side`` pixels."""
    coco = torch.tensor(_COCO_ANCHORS, dtype=torch.float64)
    shapes = coco * (_LOVT_FACTOR if config.anchors == "lovt" else _ANCHOR_UNITS / _COCO_UNITS)
    if config.anchors == "lovt" and config.preset == "legacy":
        shapes[0, 0, 0] = _LOVT_TYPO
    return (shapes * (side / _ANCHOR_UNITS)).float()


class YoloHead(nn.Module):
    """Maps at strides 32, 16, 8 to logits, one tensor ``[B, 3, 5 + classes, rows, columns]`` a scale, coarse first.

    The five numbers of an anchor are x, y, width, height, object.

    Raises:
        ConfigError: the trunk lacks one of the strides, or (at run time) a side is no multiple of 32.
    """

    def __init__(self, channels: MapChannels, classes: int) -> None:
        super().__init__()
        self.outputs = 5 + classes
        below = (0, 256, 128)
        self.stems = nn.ModuleList(
            _stem(channels.at(stride) + extra, *widths)
            for stride, extra, widths in zip(SCALES, below, _WIDTHS, strict=True)
        )
        self.bridges = nn.ModuleList([_conv_norm(512, 256, 1), _conv_norm(256, 128, 1)])
        self.tips = nn.ModuleList(_tip(*widths, _ANCHORS * self.outputs) for widths in _WIDTHS)

    def forward(self, maps: FeatureMaps) -> tuple[Tensor, ...]:
        """Logits of the three scales."""
        require_multiple(maps.size, SCALES[0], "yolo_v3")
        logits, branch = [], None
        for scale, (stem, tip) in enumerate(zip(self.stems, self.tips, strict=True)):
            incoming = maps.at(SCALES[scale])
            if branch is not None:
                larger = F.interpolate(self.bridges[scale - 1](branch), scale_factor=2.0, mode="nearest")
                incoming = torch.cat([larger, incoming], dim=1)
            branch = stem(incoming)
            flat = tip(branch)
            logits.append(flat.view(len(flat), _ANCHORS, self.outputs, *flat.shape[2:]))
        return tuple(logits)


def detection_head(channels: MapChannels, classes: int) -> nn.Module:
    """A YOLOv3 head with fresh weights, on a pyramid where the trunk is a plain ViT.

    Raises:
        ConfigError: the trunk lacks a stride that the head needs.
    """
    if not channels.flat:
        return YoloHead(channels, classes)
    pyramid = SimplePyramid(channels, strides=SCALES)
    return OnPyramid(pyramid, YoloHead(pyramid.channels, classes))


def _conv_norm(channels: int, width: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.LeakyReLU(0.1))


def _stem(channels: int, narrow: int, wide: int) -> nn.Sequential:
    """The five layers up to the point where the next scale branches off."""
    widths = (channels, narrow, wide, narrow, wide, narrow)
    return nn.Sequential(*(_conv_norm(widths[i], widths[i + 1], 1 if i % 2 == 0 else 3) for i in range(5)))


def _tip(narrow: int, wide: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_conv_norm(narrow, wide, 3), nn.Conv2d(wide, outputs, 1))
