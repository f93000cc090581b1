"""Which architecture a file of weights is of, told from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from crossray.encoders.image_weights import read_state_dict
from crossray.errors import ConfigError

_RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
"""Blocks of the four layers and whether they are bottlenecks, to timm's name."""

_VITS = {
    (192, 12, 16): "vit_tiny_patch16_224",
    (384, 12, 16): "vit_small_patch16_224",
    (768, 12, 16): "vit_base_patch16_224",
    (768, 12, 32): "vit_base_patch32_224",
    (1024, 24, 16): "vit_large_patch16_224",
}
"""Width, blocks and patch to timm's name; DeiT's tensors have the same names."""


def architecture_of(path: Path) -> str:
    """timm's name of the ResNet or plain ViT that a file holds, alone or somewhere in a larger model.

    Raises:
        ConfigError: the file cannot be read, or holds neither, or several that differ.
    """
    return architecture_in(read_state_dict(path), path)


def architecture_in(weights: Mapping[str, Tensor], path: Path) -> str:
    """As :func:`architecture_of`, of a file that has been read."""
    found = {_resnet(weights, prefix) for prefix in _prefixes(weights, "layer4.0.conv1.weight")}
    found |= {_vit(weights, prefix) for prefix in _prefixes(weights, "patch_embed.proj.weight")}
    if len(found) == 1 and None not in found:
        return str(found.pop())
    known = " and ".join(sorted(name or "one that is not known" for name in found)) or "no ResNet and no plain ViT"
    raise ConfigError(
        f"the architecture cannot be told from its tensors: there is {known}.",
        file=path,
        remedy="Name it: --image-encoder timm:NAME --weights FILE.",
    )


def _resnet(weights: Mapping[str, Tensor], prefix: str) -> str | None:
    blocks = [_count(weights, f"{prefix}layer{layer}.") for layer in (1, 2, 3, 4)]
    second = weights.get(f"{prefix}layer1.0.conv2.weight")
    # Wide and grouped ResNets have the same names.
    if second is None or second.shape[:2] != (64, 64):
        return None
    return _RESNETS.get((tuple(blocks), f"{prefix}layer1.0.conv3.weight" in weights))


def _vit(weights: Mapping[str, Tensor], prefix: str) -> str | None:
    patches = weights[f"{prefix}patch_embed.proj.weight"]
    if patches.ndim != 4:
        return None
    return _VITS.get((patches.shape[0], _count(weights, f"{prefix}blocks."), patches.shape[-1]))


def _count(weights: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered modules stand below a prefix."""
    numbers = {match[1] for name in weights if (match := re.match(rf"{re.escape(prefix)}(\d+)\.", name))}
    return len(numbers)


def _prefixes(weights: Mapping[str, Tensor], ending: str) -> list[str]:
    return [name.removesuffix(ending) for name in weights if name == ending or name.endswith(f".{ending}")]
