"""Clipping the gradient before an update: all of it together, or each encoder by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from lightning_fabric import Fabric
from torch import nn

from crossray.training.config import TrainingConfig
from crossray.training.optimizers import encoder_of
from crossray.training.step import DivergedError


def clip_gradients(
    fabric: Fabric, model: nn.Module, optimizer: torch.optim.Optimizer, config: TrainingConfig, *, step: int
) -> float:
    """Clip to ``config.clip_norm``; the norm of the whole gradient before.

    With ``clip: by_encoder`` each encoder, and all that belongs to neither, has a norm of its own (JoImTeRNet).

    Raises:
        DivergedError: the norm is no number. A loss scaler (16-mixed) copes with an infinite one, nothing else does.
    """
    if config.clip_norm is None:
        raise ValueError("there is no norm to clip to")
    fabric.strategy.precision.unscale_gradients(optimizer)
    norms = [
        torch.nn.utils.clip_grad_norm_(part, config.clip_norm, error_if_nonfinite=False)
        for part in _parts(model, config)
    ]
    value = float(torch.linalg.vector_norm(torch.stack(norms)))
    if not math.isfinite(value) and config.precision != "16-mixed":
        raise DivergedError(
            f"at step {step} the gradient's norm became {value}; training stopped before the weights were touched.",
            remedy="Lower training.optimizer.learning_rate.",
        )
    return value


def _parts(model: nn.Module, config: TrainingConfig) -> Iterable[list[nn.Parameter]]:
    parts: dict[str | None, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            part = encoder_of(name) if config.clip == "by_encoder" else None
            parts.setdefault(part, []).append(parameter)
    return parts.values()
