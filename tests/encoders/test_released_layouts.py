"""Released checkpoints: a ResNet under torchvision's names, somewhere in a larger model, in the four published layouts.

No released file is at hand here; the layouts are those of the public code (marshuang80/gloria, HKU-MedAI/MGCA,
QtacierP/PRIOR, philip-mueller/lovt), and the tensors are a torchvision ResNet's that the test makes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.encoders.image_layout import architecture_of
from crossray.errors import ConfigError

LAYOUTS = {
    "torchvision": "",
    "GLoRIA": "gloria.img_encoder.model.",
    "MGCA": "img_encoder_q.model.",
    "PRIOR": "image_encoder.encoder.",
    "LoVT": "model_a.encoder.feature_extractor.backbone_layers.",
}
WITHOUT_CLASSIFIER = ("GLoRIA", "PRIOR", "LoVT")


def _resnet(name: str = "resnet18") -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(name, weights=None)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return model.eval()


def _write(path: Path, layout: str, model: nn.Module, *, grey: bool = False) -> Path:
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if name.startswith("fc.") and layout in WITHOUT_CLASSIFIER:
            continue
        tensors[LAYOUTS[layout] + name] = value
    if grey:
        stem = f"{LAYOUTS[layout]}conv1.weight"
        tensors[stem] = tensors[stem].sum(dim=1, keepdim=True)
    others = {"text_encoder.embeddings.weight": torch.zeros(3, 4), "temperature": torch.ones(())}
    torch.save({"state_dict": tensors | (others if layout != "torchvision" else {})}, path)
    return path


def _encoder(file: Path, in_channels: int) -> ImageEncoder:
    config = {"name": "resnet18", "pretrained": str(file), "in_channels": in_channels}
    return ImageEncoder(ImageEncoderConfig.model_validate(config)).eval()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("in_channels", [1, 3])
def test_the_trunk_of_a_released_layout_computes_what_it_did(tmp_path: Path, layout: str, in_channels: int) -> None:
    model = _resnet()
    found = _encoder(_write(tmp_path / "released.pth", layout, model), in_channels)
    films = torch.rand(3, 1, 64, 64)
    model.fc = nn.Identity()
    with torch.no_grad():
        wanted = model(films.expand(-1, 3, -1, -1))
        torch.testing.assert_close(found(films).pooled, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("in_channels", [1, 3])
def test_a_trunk_for_grey_films_serves_three_channels_too(tmp_path: Path, in_channels: int) -> None:
    model = _resnet()
    found = _encoder(_write(tmp_path / "prior.pth", "PRIOR", model, grey=True), in_channels)
    films = torch.rand(2, 1, 64, 64)
    model.fc = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(found(films).pooled, model(films.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)


def test_every_name_of_a_resnet_50_is_found_below_each_prefix(tmp_path: Path) -> None:
    from crossray.encoders.image_weights import create_trunk

    for layout in ("GLoRIA", "LoVT"):
        trunk = create_trunk("resnet50", str(_write(tmp_path / "released.pth", layout, _resnet("resnet50"))), 1, {})
        wanted = _resnet("resnet50").state_dict()
        own = trunk.state_dict()
        assert torch.equal(own["layer4.2.conv3.weight"], wanted["layer4.2.conv3.weight"])
        assert torch.equal(own["layer3.0.downsample.1.running_var"], wanted["layer3.0.downsample.1.running_var"])


def test_two_trunks_and_half_a_trunk_are_refused(tmp_path: Path) -> None:
    tensors = _resnet().state_dict()
    both = {f"{side}.encoder.{name}": value for side in ("online", "target") for name, value in tensors.items()}
    torch.save(both, tmp_path / "both.pth")
    with pytest.raises(ConfigError, match=r"2 trunks of this architecture, below online\.encoder\., target\.encoder\."):
        _encoder(tmp_path / "both.pth", 1)
    half = {f"img_encoder.{name}": value for name, value in tensors.items() if not name.startswith("layer4")}
    torch.save(half, tmp_path / "half.pth")
    with pytest.raises(ConfigError, match=r"lacks .* tensors of the trunk: 'conv1.weight', .* It has .* others: 'img_"):
        _encoder(tmp_path / "half.pth", 1)


def test_a_larger_architecture_is_refused_by_the_tensors_that_it_has_more(tmp_path: Path) -> None:
    from crossray.encoders.image_weights import create_trunk

    torch.save(_meta("resnet101"), tmp_path / "larger.pth")
    with pytest.raises(ConfigError, match=r"has 306 tensors that the trunk has not: 'layer3\.6\.conv1\.weight'"):
        create_trunk("resnet50", str(tmp_path / "larger.pth"), 3, {})


def _meta(name: str) -> dict[str, Tensor]:
    """A model's tensors as zeros that share one number: nothing but names and shapes, and a small file."""
    with torch.device("meta"):
        tensors = torchvision.models.get_model(name, weights=None).state_dict()
    return {key: torch.zeros(()).expand(value.shape) for key, value in tensors.items()}


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
@pytest.mark.parametrize("layout", ["torchvision", "MGCA"])
def test_a_resnet_is_told_by_its_tensors(tmp_path: Path, name: str, layout: str) -> None:
    torch.save({LAYOUTS[layout] + key: value for key, value in _meta(name).items()}, tmp_path / "w.pth")
    assert architecture_of(tmp_path / "w.pth") == name


def test_a_vit_is_told_by_its_tensors_and_others_are_not_guessed(tmp_path: Path) -> None:
    import timm

    vit = timm.create_model("vit_base_patch16_224", num_classes=0).state_dict()  # not on meta, where older timm breaks
    tensors = {key: torch.zeros(()).expand(value.shape) for key, value in vit.items()}
    torch.save({f"img_encoder_q.model.{key}": value for key, value in tensors.items()}, tmp_path / "vit.pth")
    assert architecture_of(tmp_path / "vit.pth") == "vit_base_patch16_224"
    for name, words in (("wide_resnet50_2", "one that is not known"), ("vgg11", "no ResNet and no plain ViT")):
        torch.save(_meta(name), tmp_path / "other.pth")
        with pytest.raises(ConfigError, match=rf"cannot be told from its tensors: there is {words}.*timm:NAME"):
            architecture_of(tmp_path / "other.pth")
    torch.save(tensors | _meta("resnet50"), tmp_path / "both.pth")
    with pytest.raises(ConfigError, match="there is resnet50 and vit_base_patch16_224"):
        architecture_of(tmp_path / "both.pth")


class Settings:
    """An object that a training checkpoint may hold."""


def test_a_checkpoint_with_other_objects_is_not_opened_and_the_way_out_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": _resnet().state_dict(), "hyper_parameters": Settings()}, tmp_path / "gloria.ckpt")
    with pytest.raises(ConfigError, match=r"gloria\.ckpt.*not a readable weight file.*must be saved again"):
        _encoder(tmp_path / "gloria.ckpt", 1)
