"""Whether this machine has what a recipe's ``runtime`` asks for; Fabric would tell it by a stack trace."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from crossray.errors import ConfigError
from crossray.training.config import RuntimeConfig
from crossray.training.processes import processes_of


def accelerator_names() -> list[str]:
    """The accelerators that torch can use here; none means that everything runs on the CPU."""
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [*names, "Apple GPU (mps)"] if torch.backends.mps.is_available() else names


def require_accelerators(runtime: RuntimeConfig, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a recipe that asks for a GPU, or for more of them, than there are.

    Raises:
        ConfigError: naming what torch sees, and what to set instead.
    """
    asked, gpus = runtime.accelerator, torch.cuda.device_count()
    if (asked == "cuda" and not gpus) or (asked == "mps" and not torch.backends.mps.is_available()):
        raise ConfigError(
            f"asks for {asked}, and torch {torch.__version__} sees no such device on this machine.",
            field="runtime.accelerator",
            remedy="Set runtime.accelerator=auto, which takes what is there; 'crossray doctor' says what torch sees.",
        )
    processes, _ = processes_of(runtime, environment)
    if asked in ("auto", "cuda") and gpus and processes > gpus:
        raise ConfigError(
            f"asks for {processes} devices, and torch sees {gpus} on this machine.",
            field="runtime.devices",
            remedy=f"Set runtime.devices={gpus}; with runtime.accelerator=cpu they are processes on its cores.",
        )
