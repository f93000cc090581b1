"""The encoders as other libraries know them: timm's, transformers' and torchvision's names, in safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.errors import ConfigError
from crossray.export.parity import TEXTS, Parity, difference, views
from crossray.files import write_json
from crossray.inference.joint_model import JointModel

IMAGE_FILE, TEXT_FOLDER = "image_encoder.safetensors", "text_encoder"
TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

_CLASSIFIER = ("fc.weight", "fc.bias")  # the classifier of ImageNet, which a trunk does not have


def write_encoders(model: JointModel, prepared_size: int, out: Path) -> tuple[list[Parity], list[str]]:
    """``image_encoder.safetensors`` in timm's names, and ``text_encoder/`` as transformers reads it.

    ``image_encoder.json`` says timm's name and what films must look like. Projections into the joint space stay behind:
    they mean nothing without the method.

    Returns:
        How far what timm and transformers make of the files is from the run, and what could not be compared.
    """
    encoder = image_encoder_of(model)
    save_file(_tensors(encoder.trunk), out / IMAGE_FILE)
    write_json(out / "image_encoder.json", _image_facts(model, encoder))
    found, not_compared = [], []
    if timm.is_model(encoder.config.name):
        found.append(_timm_parity(model, encoder, prepared_size, out))
    else:
        not_compared.append(f"a comparison of {IMAGE_FILE}: {encoder.config.name} is CrossRay's own, timm has none")
    if model.method.reads_reports:
        found.append(_write_bert(model, out))
    return found, not_compared


def write_torchvision(model: JointModel, prepared_size: int, out: Path) -> list[Parity]:
    """``image_encoder.safetensors`` in torchvision's names and for three equal channels; ResNets only.

    Raises:
        ConfigError: torchvision has no such trunk.
    """
    encoder = image_encoder_of(model)
    name = encoder.config.name
    if name not in TORCHVISION:
        raise ConfigError(
            f"torchvision has no {name} with timm's weights.",
            field="--to",
            remedy=f"Export safetensors (timm's names) or onnx; torchvision can have {', '.join(TORCHVISION)}.",
        )
    tensors = _tensors(encoder.trunk)
    if encoder.config.in_channels == 1:  # a film in three equal channels then gives the same sums
        tensors["conv1.weight"] = (tensors["conv1.weight"] / 3).repeat(1, 3, 1, 1)
    save_file(tensors, out / IMAGE_FILE)
    write_json(out / "image_encoder.json", {**_image_facts(model, encoder), "torchvision": name, "channels": 3})
    import torchvision

    twin = torchvision.models.get_model(name, weights=None)
    twin.load_state_dict(load_file(out / IMAGE_FILE) | {key: twin.state_dict()[key] for key in _CLASSIFIER})
    twin.fc = nn.Identity()
    pixels = views(model.image_config, prepared_size)
    with torch.no_grad():
        return [difference("torchvision", twin.eval()(pixels.repeat(1, 3, 1, 1)), encoder(pixels).pooled)]


def image_encoder_of(model: JointModel) -> ImageEncoder:
    """The image encoder of a run, without what only its own loop reads."""
    encoder = model.method.image_encoder
    assert isinstance(encoder, ImageEncoder)  # every method has one
    if encoder.config.resize_to is not None:
        raise ConfigError(
            f"the run enlarges films to {encoder.config.resize_to} before its trunk: the trunk alone is another model.",
            field="image_encoder.resize_to",
            remedy="Export it as onnx or hub-folder, which keep that step.",
        )
    return encoder


def _tensors(trunk: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().contiguous().clone() for name, value in trunk.state_dict().items()}


def _image_facts(model: JointModel, encoder: ImageEncoder) -> dict[str, Any]:
    image = model.image_config
    return {
        "timm": encoder.config.name,
        "channels": encoder.config.in_channels,
        "trunk_options": encoder.config.trunk_options,
        "size": image.size,
        "resize": image.size if image.evaluation == "whole" else image.resize,
        "mean": image.mean,
        "std": image.std,
        "values": "(grey / 255 - mean) / std; grey from 0 to 255, bone bright",
        "width": encoder.pooled_channels,
    }


def _timm_parity(model: JointModel, encoder: ImageEncoder, prepared_size: int, out: Path) -> Parity:
    options: dict[str, Any] = dict(encoder.config.trunk_options)
    twin = timm.create_model(encoder.config.name, in_chans=encoder.config.in_channels, num_classes=0, **options)
    twin.load_state_dict(load_file(out / IMAGE_FILE), strict=False)
    pixels = views(model.image_config, prepared_size)
    with torch.no_grad():
        given = pixels.expand(-1, encoder.config.in_channels, -1, -1)
        return difference("timm", twin.eval()(given), encoder(pixels).pooled)


def _write_bert(model: JointModel, out: Path) -> Parity:
    from transformers import BertModel

    encoder: Any = model.method.text_encoder
    assert isinstance(encoder, TextEncoder)
    encoder.bert.save_pretrained(out / TEXT_FOLDER, safe_serialization=True)
    model.tokenizer.save(out / TEXT_FOLDER)
    twin: Any = BertModel.from_pretrained(out / TEXT_FOLDER, add_pooling_layer=False, local_files_only=True)
    twin.eval()
    tokens = model.tokenizer.collate(model.tokenizer.encode(TEXTS))
    mask = tokens.attention_mask
    with torch.no_grad():
        own = encoder.bert(input_ids=tokens.input_ids, attention_mask=mask.long()).last_hidden_state
        other = twin(input_ids=tokens.input_ids, attention_mask=mask.long()).last_hidden_state
    keep = mask.numpy()
    found = difference("transformers", np.asarray(other)[keep], np.asarray(own)[keep])
    return Parity(found.what, found.difference, len(TEXTS))
