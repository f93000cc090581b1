"""Small trunks of both kinds for the tests of heads."""

from __future__ import annotations

import torch
from torch import Tensor

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.evaluation.heads.trunk import MapTrunk

SIDE = 64

KINDS = ("test_resnet", "test_vit", "test_convnext")


def encoder(name: str, in_channels: int = 1) -> ImageEncoder:
    options = {"img_size": SIDE} if name == "test_vit" else {}
    config = ImageEncoderConfig(
        name=name, pretrained="none", in_channels=in_channels, local_stage=-1, trunk_options=options
    )
    torch.manual_seed(0)
    return ImageEncoder(config)


def small_trunk(name: str) -> MapTrunk:
    return MapTrunk(encoder(name))


def resnet50() -> MapTrunk:
    """LoVT's trunk, without numbers: it costs nothing and counts weights."""
    with torch.device("meta"):
        return MapTrunk(ImageEncoder(ImageEncoderConfig(name="resnet50", pretrained="none", in_channels=3)))


def films(count: int = 2, side: int = SIDE, seed: int = 0) -> Tensor:
    return 2 * torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed)) - 1
