"""Heads of segmentation protocols, and which maps of a trunk a protocol's head reads."""

from __future__ import annotations

from torch import nn

from crossray.evaluation.heads.maps import INPUT, MapChannels
from crossray.evaluation.heads.pyramid import SimplePyramid
from crossray.evaluation.heads.segmentation import OnPyramid, segmentation_head
from crossray.evaluation.heads.unet import UNet, UNetWidths
from crossray.evaluation.heads.yolo import SCALES
from crossray.evaluation.localized.protocol import LocalizedProtocol


def mask_head(protocol: LocalizedProtocol, channels: MapChannels) -> nn.Module:
    """The protocol's segmentation head with fresh weights, on a pyramid where the trunk is a plain ViT."""
    classes = len(protocol.targets)
    if protocol.head == "unet":
        width = protocol.unet_width
        widths = UNetWidths(width, (width // 2, width // 4, width // 8, width // 16, width // 32))
        if not channels.flat:
            return UNet(channels, classes, widths)
        pyramid = SimplePyramid(channels)
        return OnPyramid(pyramid, UNet(pyramid.channels, classes, widths))
    assert protocol.head != "yolo_v3"  # a protocol is checked to fit together
    return segmentation_head(protocol.head, channels, classes)


def strides_read(protocol: LocalizedProtocol, channels: MapChannels) -> frozenset[int]:
    """Strides of the maps that the protocol's head reads; the pooled feature is always there."""
    if protocol.kind == "classification":
        return frozenset()
    if protocol.head in ("linear", "setr_pup"):
        return frozenset({channels.coarsest})
    if channels.flat:
        return frozenset({INPUT, channels.coarsest})
    return frozenset(SCALES) if protocol.head == "yolo_v3" else frozenset(channels.by_stride)
