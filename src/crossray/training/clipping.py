"""Clipping the gradient before an update: all of it together, or each encoder by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from crossray.methods.base import Method
from crossray.training.config import TrainingConfig
from crossray.training.optimizers import encoder_of
from crossray.training.sharding import is_shared_out, put_together
from crossray.training.step import DivergedError


def clip_gradients(fabric: Fabric, model: Method, optimizer: torch.optim.Optimizer, config: TrainingConfig) -> Tensor:
    """Clip to ``config.clip_norm``; the norm of the whole gradient before, still on the device.

    With ``clip: by_encoder`` each encoder, with what the method clips with it, and all that belongs to neither have a
    norm of their own (JoImTeRNet).
    """
    if config.clip_norm is None:
        raise ValueError("there is no norm to clip to")
    fabric.strategy.precision.unscale_gradients(optimizer)
    norms = [_clip(part, config.clip_norm) for part in _parts(model, config)]
    whole: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return whole


def require_finite_norm(norm: float, config: TrainingConfig, *, step: int) -> None:
    """Refuse to go on with a gradient that is no number.

    Raises:
        DivergedError: the norm is none. A loss scaler (16-mixed) copes with an infinite one, nothing else does.
    """
    if not math.isfinite(norm) and config.precision != "16-mixed":
        raise DivergedError(
            f"at step {step} the gradient's norm became {norm}; training stopped before the weights were touched.",
            remedy="Lower training.optimizer.learning_rate.",
        )


def _clip(part: list[nn.Parameter], limit: float) -> Tensor:
    """Clip the gradient of some parameters together; its norm before."""
    shared = [parameter for parameter in part if is_shared_out(parameter)]
    if not shared:
        return torch.nn.utils.clip_grad_norm_(part, limit, error_if_nonfinite=False)
    kinds = [kind for kind in ([p for p in part if not is_shared_out(p)], shared) if kind]
    norms = [
        put_together(torch.nn.utils.get_total_norm([p.grad for p in kind if p.grad is not None])) for kind in kinds
    ]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    for kind in kinds:
        torch.nn.utils.clip_grads_with_norm_(kind, limit, norm)
    return norm


def _parts(model: Method, config: TrainingConfig) -> Iterable[list[nn.Parameter]]:
    parts: dict[str | None, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            part = model.clipped_with.get(name.split(".")[0], encoder_of(name)) if config.clip == "by_encoder" else None
            parts.setdefault(part, []).append(parameter)
    return parts.values()
