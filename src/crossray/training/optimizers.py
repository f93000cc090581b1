"""Optimisers from their configuration: rates by part of the model, decay or none on norms, biases and scales."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from crossray.errors import ConfigError
from crossray.training.config import OptimizerConfig
from crossray.training.sharding import is_shared_out

Encoder = Literal["image_encoder", "text_encoder"]


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Trainable parameters by (learning rate, decayed or not), each group with its names, in a fixed order.

    A parameter belongs to an encoder by its name (``image_encoder.``, ``text_encoder.``); everything else (projections,
    heads, temperatures) has the plain rate. With ``decay: weights``, parameters of fewer than two dimensions are not
    decayed.
    """
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate, decayed = _rate_of(name, config), config.decay == "all" or parameter.ndim >= 2
        group = groups.setdefault(
            (rate, decayed),
            {"params": [], "names": [], "lr": rate, "weight_decay": config.weight_decay if decayed else 0.0},
        )
        group["params"].append(parameter)
        group["names"].append(name)
    if not groups:
        raise ConfigError("nothing is left to train: every part of the model is frozen.")
    return list(groups.values())


def build_optimizer(model: nn.Module, config: OptimizerConfig, *, fused: bool = True) -> torch.optim.Optimizer:
    """The optimiser over a model's trainable parameters; ``initial_lr`` of each group is what schedules scale.

    Parameters that are shared out among processes are updated in groups of their own; ``places`` of each group says
    where its parameters stand among those of :func:`parameter_groups`. ``fused`` updates all parameters in one kernel,
    four times as fast on a CPU; off under a loss scaler, which cannot clip the gradients of a fused optimiser.
    """
    groups: list[dict[str, Any]] = []
    before = 0
    for group in parameter_groups(model, config):
        numbered = list(enumerate(group["params"], start=before))
        before += len(numbered)
        for shared in (False, True):
            own = [(place, parameter) for place, parameter in numbered if is_shared_out(parameter) == shared]
            if own:
                places, parameters = zip(*own, strict=True)
                settings = {"lr": group["lr"], "initial_lr": group["lr"], "weight_decay": group["weight_decay"]}
                groups.append({"params": list(parameters), "places": list(places), **settings})
    match config.name:
        case "adam":
            return torch.optim.Adam(groups, betas=config.betas, fused=fused)
        case "adamw":
            return torch.optim.AdamW(groups, betas=config.betas, fused=fused)
        case "sgd":
            # Torch's one kernel of SGD does not know parameters that are shared out.
            shared = any(is_shared_out(parameter) for group in groups for parameter in group["params"])
            return torch.optim.SGD(groups, momentum=config.momentum, fused=fused and not shared)


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's own rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def encoder_of(name: str) -> Encoder | None:
    """The encoder that a parameter belongs to by its name, if it belongs to one."""
    match name.split(".")[0]:
        case "image_encoder":
            return "image_encoder"
        case "text_encoder":
            return "text_encoder"
    return None


def _rate_of(name: str, config: OptimizerConfig) -> float:
    own = {
        "image_encoder": config.image_encoder_learning_rate,
        "text_encoder": config.text_encoder_learning_rate,
        None: None,
    }[encoder_of(name)]
    return config.learning_rate if own is None else own
