"""Any timm CNN or ViT behind one interface: a pooled vector and a grid of region vectors for each film."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.encoders.features import FeatureStage, ImageFeatures, StageMaps
from crossray.encoders.image_weights import create_trunk
from crossray.errors import ConfigError
from crossray.settings import Settings

BatchNorm = Literal["frozen", "local", "sync"]


class ImageEncoderConfig(Settings):
    """The trunk, where its weights come from, and which of its stages gives the regions.

    Attributes:
        name: timm's name of the architecture, or ``joimternet_paper2048`` or ``joimternet_reduced``.
        pretrained: ``imagenet`` (for ``tf_efficientnet_lite0`` from an installed package, for others through the
            hub), ``none``, the path of a ``.safetensors`` or ``.pth`` state dict, or ``hf-hub:owner/model``. Of a ViT
            the table of positions is resampled to the films that it is to take (``trunk_options.img_size``).
        in_channels: 1 sums the stem's weights over colours (the same numbers as a replicated film); 3 replicates.
        local_stage: index into the trunk's feature stages (ViT: blocks), from the end if negative. -2 is the third
            of a ResNet's four layers, GLoRIA's choice.
        resize_to: side to which films are enlarged before the trunk, bilinear with aligned corners (GLoRIA: 299).
        batch_norm: ``frozen`` uses running statistics always, in training too; ``local`` each process' own batch;
            ``sync`` the batch over all processes (GPUs only).
        frozen_stages: stem and the first so many feature stages get no gradient and stay in evaluation mode.
        class_attention: also return what the class token of a ViT's last block attends to (MGCA's patch weights).
        trunk_options: further arguments of timm's constructor, such as ``img_size`` or ``drop_path_rate``.
    """

    name: str = "tf_efficientnet_lite0"
    pretrained: str = "imagenet"
    in_channels: Literal[1, 3] = 1
    local_stage: int = -2
    resize_to: int | None = Field(default=None, ge=8)
    batch_norm: BatchNorm = "local"
    frozen_stages: int = Field(default=0, ge=0)
    class_attention: bool = False
    trunk_options: dict[str, int | float | bool | str] = Field(default_factory=dict)


class ImageEncoder(nn.Module):
    """Films ``[B, 1, height, width]`` to :class:`ImageFeatures`.

    Args:
        config: see :class:`ImageEncoderConfig`.
        initial_weights: load what ``config.pretrained`` names; off where a checkpoint fills the weights anyway.

    Attributes:
        pooled_channels: width of ``ImageFeatures.pooled``.
        local_channels: width of ``ImageFeatures.regions``.
        reduction: how many pixels along a side one place of the trunk's last map stands for.
        stages: channels and reduction of each feature stage (ViT: of each block).

    Raises:
        ConfigError: the architecture, its weights, or a stage does not exist.
    """

    def __init__(self, config: ImageEncoderConfig, *, initial_weights: bool = True) -> None:
        super().__init__()
        self.config = config
        trunk: Any = create_trunk(
            config.name, config.pretrained if initial_weights else "none", config.in_channels, config.trunk_options
        )
        stages = _feature_stages(trunk)
        self.stages = tuple(FeatureStage(stage["num_chs"], stage["reduction"]) for stage in stages)
        self._local_stage = _stage_index(config.local_stage, len(stages), config.name)
        self.local_channels: int = stages[self._local_stage]["num_chs"]
        self.reduction: int = stages[-1]["reduction"]
        self.pooled_channels: int = getattr(trunk, "head_hidden_size", trunk.num_features)
        synchronised: Any = convert_sync_batchnorm
        trunk = synchronised(trunk) if config.batch_norm == "sync" else trunk
        # Channels last is faster on CPUs and GPUs alike; a trunk's 4-d weights carry the layout through it.
        self.trunk: nn.Module = trunk.to(memory_format=torch.channels_last)
        if config.class_attention and not _has_class_token(self.trunk):
            raise ConfigError(
                f"{config.name} has no class token, so it attends to nothing.",
                field="image_encoder.class_attention",
                remedy="Leave it off, or choose a ViT with a class token.",
            )
        self._frozen_modules = _freeze(self.trunk, [stage["module"] for stage in stages], config)

    def learn_last(self, stages: int) -> None:
        """Freeze all but the last so many feature stages (ViT: blocks) and what comes after them.

        Raises:
            ConfigError: there are not so many.
        """
        if stages > len(self.stages):
            raise ConfigError(
                f"{self.config.name} has {len(self.stages)} feature stages; the last {stages} cannot learn.",
                field="trunk",
                remedy=f"Choose partial:{len(self.stages)} at most, or finetune.",
            )
        config = self.config.model_copy(update={"frozen_stages": len(self.stages) - stages})
        names = [stage["module"] for stage in _feature_stages(self.trunk)]
        self._frozen_modules = _freeze(self.trunk, names, config)

    def forward(self, pixels: Tensor) -> ImageFeatures:
        """Run the trunk once.

        Raises:
            ConfigError: the trunk takes another film size, or ``sync`` batch norm meets a CPU.
        """
        trunk: Any = self.trunk
        with _watched_attention(trunk, watch=self.config.class_attention) as watched:
            _, final, (local,) = self._maps(pixels, [self._local_stage])
        return ImageFeatures(
            pooled=trunk.forward_head(final, pre_logits=True),
            regions=local.flatten(2).transpose(1, 2),
            grid=(local.shape[2], local.shape[3]),
            attention=_class_attention(*watched[-1], trunk.num_prefix_tokens) if watched else None,
        )

    def places(self, pixels: Tensor) -> ImageFeatures:
        """What each place of the last map would give if the whole film looked like it: the pooled feature, unpooled.

        ``regions [B, R, C]`` has the width of ``pooled`` and means ``pooled`` where pooling is the last thing a trunk
        does. Through it a method without local terms can be asked where it sees something.
        """
        trunk: Any = self.trunk
        _, final, (local,) = self._maps(pixels, [len(self.stages) - 1])
        rows, columns = local.shape[2:]
        if final.ndim == 4:
            alone = final.flatten(2).transpose(1, 2).reshape(-1, final.shape[1], 1, 1)
        else:
            prefix = trunk.num_prefix_tokens
            patches = final[:, prefix:]
            alone = patches.reshape(-1, 1, patches.shape[2]).expand(-1, prefix + 1, -1)
        by_place = trunk.forward_head(alone, pre_logits=True)
        return ImageFeatures(
            pooled=trunk.forward_head(final, pre_logits=True),
            regions=by_place.view(pixels.shape[0], rows * columns, -1),
            grid=(rows, columns),
        )

    def stage_maps(self, pixels: Tensor, stages: Sequence[int]) -> StageMaps:
        """The maps of several stages (ascending indices) and the pooled vector, in one run of the trunk."""
        given, final, maps = self._maps(pixels, stages)
        trunk: Any = self.trunk
        return StageMaps(pixels=given, maps=tuple(maps), pooled=trunk.forward_head(final, pre_logits=True))

    @property
    def blocks(self) -> list[nn.Module]:
        """The trunk's stages (ViT: its blocks): what it runs one after the other, with nearly all weights.

        Without the last one if :attr:`ImageEncoderConfig.class_attention` reads its weights from outside.
        """
        stages = [self.trunk.get_submodule(stage["module"]) for stage in _feature_stages(self.trunk)]
        weighty = [stage for stage in stages if any(True for _ in stage.parameters())]
        return weighty[:-1] if self.config.class_attention else weighty

    def _maps(self, pixels: Tensor, stages: Sequence[int]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """What the trunk was given, its last map (tokens, of a ViT), and maps ``[B, C, rows, columns]`` of stages."""
        self._check(pixels)
        if self.config.resize_to is not None:
            side = self.config.resize_to
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", align_corners=True)
        pixels = pixels.expand(-1, self.config.in_channels, -1, -1)
        trunk: Any = self.trunk
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # trunks without a final norm warn that it cannot be applied
            final, maps = trunk.forward_intermediates(pixels, indices=list(stages), norm=True)
        return pixels, final, maps

    def train(self, mode: bool = True) -> ImageEncoder:
        """Training mode, except for what is frozen: its batch statistics and dropout must not move."""
        super().train(mode)
        for module in self._frozen_modules:
            module.training = False  # its own alone: what it may hold of later stages goes on learning
        return self

    def _check(self, pixels: Tensor) -> None:
        if self.config.batch_norm == "sync" and self.training and pixels.device.type == "cpu":
            raise ConfigError(
                "'sync' batch norm needs GPUs; this run is on the CPU.",
                field="image_encoder.batch_norm",
                remedy="Choose local or frozen.",
            )
        patches = getattr(self.trunk, "patch_embed", None)
        side = self.config.resize_to or pixels.shape[-1]
        size = getattr(patches, "img_size", None)
        if size is not None and getattr(patches, "strict_img_size", False) and tuple(size) != (side, side):
            raise ConfigError(
                f"{self.config.name} takes films of {size[0]} × {size[1]}, not {side} × {side}.",
                field="image_encoder.trunk_options",
                remedy=f"Set image_encoder.trunk_options.img_size={side} (or image_encoder.resize_to={size[0]}).",
            )


def _has_class_token(trunk: Any) -> bool:
    blocks = getattr(trunk, "blocks", None)
    last = blocks[-1] if blocks is not None and len(blocks) else None
    return getattr(trunk, "cls_token", None) is not None and hasattr(getattr(last, "attn", None), "qkv")


@contextmanager
def _watched_attention(trunk: Any, *, watch: bool) -> Iterator[list[tuple[Any, Tensor]]]:
    """Collects (attention, its input) of the last block while the trunk runs; nothing unless ``watch``."""
    seen: list[tuple[Any, Tensor]] = []
    if not watch:
        yield seen
        return
    handle = trunk.blocks[-1].attn.register_forward_pre_hook(lambda module, inputs: seen.append((module, inputs[0])))
    try:
        yield seen
    finally:
        handle.remove()


@torch.no_grad()
def _class_attention(attention: Any, states: Tensor, prefix: int) -> Tensor:
    """``[B, R]`` weights of the class token's row, mean of heads, prefix tokens left out.

    Computed here for the one row that is wanted: fused attention does not hand its weights out.
    """
    batch, count, _ = states.shape
    qkv = attention.qkv(states).reshape(batch, count, 3, attention.num_heads, attention.head_dim).permute(2, 0, 3, 1, 4)
    query, key = attention.q_norm(qkv[0][:, :, :1]), attention.k_norm(qkv[1])
    weights: Tensor = (query @ key.transpose(2, 3) * attention.scale).softmax(dim=3)
    return weights[:, :, 0, prefix:].mean(dim=1)


def _feature_stages(trunk: Any) -> list[dict[str, Any]]:
    information = trunk.feature_info
    return list(getattr(information, "info", information))


def _stage_index(stage: int, count: int, name: str) -> int:
    if not -count <= stage < count:
        raise ConfigError(
            f"{name} has {count} feature stages; there is no stage {stage}.",
            field="image_encoder.local_stage",
            remedy=f"Choose from {-count} to {count - 1}.",
        )
    return stage % count


def _freeze(trunk: nn.Module, stages: list[str], config: ImageEncoderConfig) -> list[nn.Module]:
    """Stop gradients up to the last frozen stage; return the modules that stay in evaluation mode."""
    if config.frozen_stages > len(stages):
        raise ConfigError(
            f"{config.name} has {len(stages)} feature stages; {config.frozen_stages} cannot be frozen.",
            field="image_encoder.frozen_stages",
        )
    frozen: list[nn.Module] = []
    if config.frozen_stages:
        frozen = _modules_through(trunk, stages[config.frozen_stages - 1])
        for module in (trunk, *frozen):  # a ViT's class token and positions are the trunk's own, before its blocks
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
    if config.batch_norm == "frozen":
        frozen += [module for module in trunk.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    return frozen


def _modules_through(trunk: nn.Module, stage: str) -> list[nn.Module]:
    """Modules up to the end of a stage that are more than containers of others.

    Those with weights of their own count even if they have children: timm's batch norms hold their activation, a
    ConvNeXt block its scale.
    """
    named = list(trunk.named_modules())[1:]
    last = max(place for place, (name, _) in enumerate(named) if name == stage or name.startswith(f"{stage}."))
    return [module for _, module in named[: last + 1] if not list(module.children()) or _has_own_tensors(module)]


def _has_own_tensors(module: nn.Module) -> bool:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return bool(own)


def parameter_count(module: nn.Module) -> int:
    """Number of weights, trainable or not."""
    return sum(torch.numel(parameter) for parameter in module.parameters())
