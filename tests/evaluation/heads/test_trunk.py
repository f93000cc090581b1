from __future__ import annotations

import pytest
import torch

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.errors import ConfigError
from crossray.evaluation.heads.maps import INPUT
from crossray.evaluation.heads.pyramid import SimplePyramid
from crossray.evaluation.heads.trunk import MapTrunk
from tests.evaluation.heads.trunks import KINDS, SIDE, encoder, films, resnet50, small_trunk


@pytest.mark.parametrize("name", KINDS)
def test_maps_have_the_channels_and_the_stride_that_they_are_announced_with(name: str) -> None:
    trunk = small_trunk(name).eval()
    maps = trunk(films())
    assert maps.maps.keys() == trunk.channels.by_stride.keys()
    for stride, channels in trunk.channels.by_stride.items():
        assert maps.at(stride).shape == (2, channels, SIDE // stride, SIDE // stride)
    assert maps.pooled.shape == (2, trunk.channels.pooled)
    assert maps.size == (SIDE, SIDE)


def test_a_resnet_50_has_the_strides_and_widths_of_the_specification() -> None:
    assert resnet50().channels.by_stride == {INPUT: 3, 2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048}


def test_a_plain_vit_has_one_stride_and_a_pyramid_gives_it_four() -> None:
    trunk = small_trunk("test_vit").eval()
    assert trunk.channels.flat
    pyramid = SimplePyramid(trunk.channels, width=8)
    maps = pyramid(trunk(films()))
    shapes = {stride: tuple(maps.at(stride).shape[1:]) for stride in pyramid.channels.by_stride}
    assert shapes == {1: (1, 64, 64), 4: (8, 16, 16), 8: (8, 8, 8), 16: (8, 4, 4), 32: (8, 2, 2)}


def test_a_patch_of_fourteen_pixels_is_brought_to_stride_sixteen() -> None:
    config = ImageEncoderConfig(
        name="test_vit", pretrained="none", local_stage=-1, trunk_options={"img_size": 224, "patch_size": 14}
    )
    trunk = MapTrunk(ImageEncoder(config)).eval()
    maps = SimplePyramid(trunk.channels, width=8)(trunk(films(1, side=224)))
    assert [maps.at(stride).shape[-1] for stride in (4, 8, 16, 32)] == [56, 28, 14, 7]


def test_maps_and_pooled_feature_are_those_of_the_encoder() -> None:
    network = encoder("test_resnet").eval()
    features = network(films())
    maps = MapTrunk(network).eval()(films())
    torch.testing.assert_close(maps.pooled, features.pooled)
    torch.testing.assert_close(maps.at(32).flatten(2).transpose(1, 2), features.regions)


def test_only_the_strides_that_are_wanted_are_kept() -> None:
    maps = MapTrunk(encoder("test_resnet"), strides=(8, 32)).eval()(films())
    assert sorted(maps.maps) == [8, 32]


def test_a_frozen_trunk_stays_in_evaluation_mode_and_gives_no_gradient() -> None:
    trunk = small_trunk("test_resnet").freeze()
    trunk.train()
    assert not any(module.training for module in trunk.modules())
    assert not trunk(films()).at(32).requires_grad
    trunk.release().train()
    assert all(module.training for module in trunk.modules())
    assert trunk(films()).at(32).requires_grad


def test_a_stride_that_a_trunk_does_not_have_is_named() -> None:
    trunk = small_trunk("test_convnext").eval()
    with pytest.raises(ConfigError, match=r"stride 2; the trunk has strides 1, 4, 8, 16, 32"):
        trunk(films()).at(2)
    with pytest.raises(ConfigError, match="stride 64"):
        trunk.channels.at(64)


def test_films_are_picked_from_maps_by_their_place() -> None:
    maps = small_trunk("test_resnet").eval()(films(3))
    picked = maps[torch.tensor([2, 0])]
    assert len(picked) == 2
    assert torch.equal(picked.at(16)[1], maps.at(16)[0])
    assert torch.equal(picked.pooled[0], maps.pooled[2])
