"""A ViT's table of positions, of a file whose films had another size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor

from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.encoders.image_weights import create_trunk, with_positions_of
from crossray.errors import ConfigError

LAYOUTS = {"timm": "", "MGCA": "img_encoder_q.model.", "ours": "image_encoder.trunk."}


def vit(size: int, **options: Any) -> Any:
    torch.manual_seed(size)
    return timm.create_model("test_vit", num_classes=0, img_size=size, **options)


def written(path: Path, tensors: dict[str, Tensor], prefix: str = "") -> Path:
    torch.save({f"{prefix}{name}": value for name, value in tensors.items()}, path)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [32, 96])
def test_positions_are_resampled_as_timm_does(tmp_path: Path, layout: str, size: int) -> None:
    given = vit(64).state_dict()
    wanted = vit(size)
    wanted.load_state_dict(checkpoint_filter_fn(dict(given), wanted))
    file = written(tmp_path / "vit.pth", given, LAYOUTS[layout])
    config = {"name": "test_vit", "pretrained": str(file), "in_channels": 3, "trunk_options": {"img_size": size}}
    found = ImageEncoder(ImageEncoderConfig.model_validate(config)).eval()
    assert torch.equal(found.trunk.pos_embed, wanted.pos_embed)  # type: ignore[arg-type]
    films = torch.rand(2, 1, size, size)
    with torch.no_grad():
        expected = wanted.eval()(films.expand(-1, 3, -1, -1))
        torch.testing.assert_close(found(films).pooled, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{"no_embed_class": True}, {"reg_tokens": 2}, {"class_token": False}])
def test_what_stands_before_the_places_is_left_as_it_is(options: dict[str, Any]) -> None:
    if options == {"class_token": False}:
        options = options | {"global_pool": "avg"}
    given, model = vit(64, **options).state_dict(), vit(48, **options)
    prefix = 0 if options.get("no_embed_class") else model.num_prefix_tokens
    found = with_positions_of(model, given)["pos_embed"]
    assert torch.equal(found, resample_abs_pos_embed(given["pos_embed"], [3, 3], num_prefix_tokens=prefix))
    assert torch.equal(found[:, :prefix], given["pos_embed"][:, :prefix])


def test_the_same_size_and_other_trunks_keep_their_tensors() -> None:
    given = vit(64).state_dict()
    assert with_positions_of(vit(64), given) is given
    resnet = timm.create_model("test_resnet", num_classes=0)
    assert with_positions_of(resnet, given) is given


def test_a_table_that_is_no_square_grid_is_refused_with_its_shape(tmp_path: Path) -> None:
    given = vit(64).state_dict()
    given["pos_embed"] = given["pos_embed"][:, :-1]
    with pytest.raises(ConfigError, match=r"'pos_embed' in .* has shape \(1, 16, 64\), the trunk needs \(1, 5, 64\)"):
        create_trunk("test_vit", str(written(tmp_path / "vit.pth", given)), 3, {"img_size": 32})
