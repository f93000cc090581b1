from __future__ import annotations

import pytest
import torch
from torch import nn

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig, parameter_count
from crossray.encoders.joimternet_cnn import PRESETS, SoftAttention, create_joimternet_cnn
from crossray.errors import ConfigError


def encoder(name: str = "joimternet_reduced", **options: object) -> ImageEncoder:
    torch.manual_seed(0)
    config = ImageEncoderConfig.model_validate({"name": name, "pretrained": "none", **options})
    return ImageEncoder(config).eval()


def narrow(name: str = "joimternet_reduced") -> ImageEncoder:
    return encoder(name, trunk_options={"width": 1})


@pytest.mark.parametrize("name", PRESETS)
def test_check_12_the_image_encoder_has_as_many_weights_as_published(name: str) -> None:
    model = encoder(name)
    region_convolution = nn.Linear(model.local_channels, 512, bias=False)
    global_projection = nn.Linear(model.pooled_channels, 512)
    assert (model.local_channels, model.pooled_channels) == (256, 2048)
    counts = [parameter_count(part) for part in (model, region_convolution, global_projection)]
    assert sum(counts) == 12_378_906


@pytest.mark.parametrize(
    ("name", "size", "side"),
    [
        ("joimternet_paper2048", 2048, 16),
        ("joimternet_paper2048", 512, 4),
        ("joimternet_paper2048", 256, 2),
        ("joimternet_reduced", 256, 16),
        ("joimternet_reduced", 224, 14),
    ],
)
def test_check_12_a_film_gives_as_many_regions_as_its_preset_says(name: str, size: int, side: int) -> None:
    model = narrow(name)
    with torch.no_grad():
        features = model(torch.zeros(1, 1, size, size))
    assert features.grid == (side, side)
    assert features.regions.shape == (1, side * side, 32)
    assert features.pooled.shape == (1, 256)


def test_check_09_the_attention_of_all_places_sums_to_the_number_of_heads() -> None:
    torch.manual_seed(0)
    block = SoftAttention(8)
    maps = torch.randn(3, 8, 5, 7)
    attention = block.attention(maps)
    torch.testing.assert_close(attention.sum(dim=(1, 2, 3)), torch.full((3,), 16.0))
    assert 0 <= block.strength.item() < 1
    torch.testing.assert_close(block(maps), maps * (1 + block.strength * attention))


def test_soft_attention_is_a_sum_of_softmaxes_over_places() -> None:
    torch.manual_seed(0)
    block, maps = SoftAttention(4, heads=3), torch.randn(2, 4, 2, 3)
    assert block.bias is not None
    wanted = torch.zeros(2, 6)
    for head in range(3):
        for film in range(2):
            logits = [block.weight[head, :, 0, 0] @ maps[film].flatten(1)[:, place] for place in range(6)]
            wanted[film] += nn.functional.leaky_relu(torch.stack(logits) + block.bias[head], 0.01).softmax(0).detach()
    torch.testing.assert_close(block.attention(maps).flatten(1), wanted)


def test_places_have_the_width_of_the_pooled_feature() -> None:
    model = narrow()
    with torch.no_grad():
        places = model.places(torch.zeros(2, 1, 64, 64))
    assert places.regions.shape == (2, 4, model.pooled_channels)


def test_freezing_five_stages_freezes_their_attention_too() -> None:
    model = encoder(trunk_options={"width": 1}, frozen_stages=5).train()
    trainable = {name.split(".")[1] for name, weight in model.named_parameters() if weight.requires_grad}
    assert trainable == {"layer6"}


def test_weights_nobody_published_and_options_it_has_not_are_refused() -> None:
    with pytest.raises(ConfigError, match="nobody has published"):
        encoder(pretrained="imagenet")
    with pytest.raises(ConfigError, match="no option 'depth'"):
        create_joimternet_cnn("joimternet_reduced", 1, {"depth": 3})
    with pytest.raises(ConfigError, match="Did you mean 'joimternet_reduced'"):
        encoder("joimternet_reducd")
