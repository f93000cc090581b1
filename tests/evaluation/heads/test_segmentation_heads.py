from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig, parameter_count
from crossray.errors import ConfigError
from crossray.evaluation.heads.segmentation import SegmentationHead, segmentation_head
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.heads.unet import UNet, UNetWidths
from tests.evaluation.heads.trunks import KINDS, SIDE, films, resnet50, small_trunk

SMALL = UNetWidths(bridge=8, steps=(8, 8, 4, 4, 4))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["linear", "smp_unet", "setr_pup"])
def test_every_trunk_goes_through_every_segmentation_head(name: str, kind: SegmentationHead) -> None:
    trunk = small_trunk(name).freeze()
    torch.manual_seed(0)
    head = segmentation_head(kind, trunk.channels, 3)
    logits = head(trunk(films()))
    assert logits.shape == (2, 3, SIDE, SIDE)
    logits.mean().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert all(parameter.grad is None for parameter in trunk.parameters())


@pytest.mark.parametrize("name", KINDS)
def test_every_trunk_goes_through_the_published_u_net(name: str) -> None:
    # Without numbers, since it has more than a hundred million weights.
    with torch.device("meta"):
        options = {"img_size": SIDE} if name == "test_vit" else {}
        config = ImageEncoderConfig(name=name, pretrained="none", local_stage=-1, trunk_options=options)
        trunk = MapTrunk(ImageEncoder(config)).freeze()
        head = segmentation_head("unet", trunk.channels, 1)
        logits = head(trunk(torch.empty(2, 1, SIDE, SIDE)))
    assert logits.shape == (2, 1, SIDE, SIDE)


def test_a_u_net_of_other_widths_learns_in_all_its_weights() -> None:
    trunk = small_trunk("test_resnet").freeze()
    head = UNet(trunk.channels, 2, SMALL)
    head(trunk(films())).square().mean().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize(
    ("kind", "classes", "weights"), [("linear", 1, 2_049), ("linear", 8, 16_392), ("unet", 1, 124_300_609)]
)
def test_heads_on_a_resnet_50_have_the_published_number_of_weights(
    kind: SegmentationHead, classes: int, weights: int
) -> None:
    channels = resnet50().channels
    with torch.device("meta"):
        assert parameter_count(segmentation_head(kind, channels, classes)) == weights


def test_the_smp_head_is_what_the_package_builds_itself() -> None:
    import segmentation_models_pytorch as smp

    with torch.device("meta"):
        own = segmentation_head("smp_unet", resnet50().channels, 1)
        theirs = smp.Unet("resnet50", encoder_weights=None, activation=None)
    shapes = [tuple(parameter.shape) for parameter in own.parameters()]
    of_theirs = [*theirs.decoder.parameters(), *theirs.segmentation_head.parameters()]
    assert shapes == [tuple(parameter.shape) for parameter in of_theirs]


def test_the_linear_head_is_one_convolution_enlarged_without_aligned_corners() -> None:
    trunk = small_trunk("test_resnet").freeze()
    head = segmentation_head("linear", trunk.channels, 2)
    maps = trunk(films())
    (convolution,) = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    small = torch.einsum("bchw,kc->bkhw", maps.at(32), convolution.weight[:, :, 0, 0])
    assert convolution.bias is not None
    small = small + convolution.bias[:, None, None]
    torch.testing.assert_close(head(maps), F.interpolate(small, (SIDE, SIDE), mode="bilinear", align_corners=False))


def test_every_name_of_a_head_is_built() -> None:
    channels = small_trunk("test_resnet").channels
    with torch.device("meta"):
        assert all(isinstance(segmentation_head(kind, channels, 1), nn.Module) for kind in get_args(SegmentationHead))


@pytest.mark.parametrize("kind", ["unet", "smp_unet"])
def test_films_that_do_not_halve_five_times_are_refused(kind: SegmentationHead) -> None:
    trunk = small_trunk("test_resnet").eval()
    with torch.device("meta"):
        head = segmentation_head(kind, trunk.channels, 1)
    with pytest.raises(ConfigError, match=r"multiples of 32, not 80 x 80.*Choose 64|Choose 96"):
        head(trunk(films(1, side=80)))


@pytest.mark.parametrize("kind", ["linear", "setr_pup"])
def test_a_trunk_of_joimternet_goes_through_the_heads_that_take_the_last_map(kind: SegmentationHead) -> None:
    config = ImageEncoderConfig(name="joimternet_reduced", pretrained="none", trunk_options={"width": 1})
    trunk = MapTrunk(ImageEncoder(config)).freeze()
    assert segmentation_head(kind, trunk.channels, 1)(trunk(films())).shape == (2, 1, SIDE, SIDE)
