"""What a checkpoint holds: everything a run needs to go on, as tensors and JSON facts.

``state.safetensors`` holds all that (weights, average, optimiser, schedule, place in the epoch); ``best.safetensors``
and ``last.safetensors`` hold weights alone, for inference, as do ``stage-<name>.safetensors`` from the end of each
stage but the last. The files themselves: ``crossray.tensor_file``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossray.tensor_file import load_weights
from crossray.training.sharding import shared_out_like

_MODEL, _AVERAGE, _OPTIMIZER = "model/", "average/", "optimizer/"


def state_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: Mapping[str, Tensor] | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Everything with a value as tensors, and the optimiser's plain numbers as JSON."""
    tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
    tensors |= {_AVERAGE + name: value for name, value in (average or {}).items()}
    places = _places(optimizer)
    scalars: dict[str, dict[str, Any]] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{places[index]}/{name}"] = value
            elif value is not None:
                scalars.setdefault(str(places[index]), {})[name] = value
    return tensors, {"scalars": scalars}


def restore_state(
    tensors: Mapping[str, Tensor],
    optimizer_facts: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> dict[str, Tensor]:
    """Load model and optimiser; returns the averaged weights (empty if the run keeps none)."""
    own = model.state_dict()
    weights = _below(_MODEL, tensors)
    load_weights(model, {n: shared_out_like(value, own[n]) if n in own else value for n, value in weights.items()})
    index_of = {place: index for index, place in enumerate(_places(optimizer))}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {index_of[int(p)]: dict(v) for p, v in optimizer_facts["scalars"].items()}
    for name, value in _below(_OPTIMIZER, tensors).items():
        place, key = name.split("/")
        index = index_of[int(place)]
        like = parameters[index]
        state.setdefault(index, {})[key] = shared_out_like(value, like) if value.shape == like.shape else value
    # Groups are made from the configuration, which is the same.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    _lay_out_like_parameters(optimizer)
    return _below(_AVERAGE, tensors)


def _places(optimizer: torch.optim.Optimizer) -> list[int]:
    """The place of each parameter in an optimiser over weights that are not shared out."""
    return [place for group in optimizer.param_groups for place in group["places"]]


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give the moments the memory layout of their weights, which files do not keep.

    A fused optimiser walks through both in the order of memory: under a channels-last weight, moments in another
    layout would belong to other weights.
    """
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def weights_file(source: str) -> Path:
    """The file that ``initial_weights`` names: a safetensors file itself, or the best of a run's folder."""
    path = Path(source)
    return path / "checkpoints" / "best.safetensors" if path.is_dir() else path


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
