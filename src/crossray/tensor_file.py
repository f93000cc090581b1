"""Tensor files: one safetensors file each, written whole or not at all, with a seal that shows any alteration.

Nothing in them is executed. Training writes them, inference reads them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from crossray.errors import CheckpointError
from crossray.files import explained_disk_errors, whole_file

FORMAT_VERSION = 1


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON facts; what stood at ``path`` stays until the new file is complete and on the disk.

    Raises:
        CheckpointError: the disk is full or read-only; the previous file is whole.
    """
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps({"version": FORMAT_VERSION, **facts}, sort_keys=True)
    metadata = {"crossray": text, "sha256": _seal(own, text)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with explained_disk_errors(CheckpointError, path), whole_file(path) as file:
        content = save(own, metadata)
        head = _ordered_head(content)
        file.write(head)
        file.write(memoryview(content)[len(head) :])


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a file written by :func:`write_tensors`.

    Raises:
        CheckpointError: the file is missing, cut short, altered, or of another version.
    """
    remedy = "Put back a copy; of a run, delete the whole folder of checkpoints and crossray pretrain makes them again."
    if not path.is_file():
        raise CheckpointError("there is no such checkpoint.", file=path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"is cut short or not a checkpoint ({error}).", file=path, remedy=remedy) from error
    text = metadata.get("crossray", "")
    if metadata.get("sha256") != _seal(tensors, text):
        raise CheckpointError("has been altered: its content does not match its checksum.", file=path, remedy=remedy)
    facts = _facts(text)
    if facts.get("version") != FORMAT_VERSION:
        raise CheckpointError(f"has format {facts.get('version')}, this CrossRay reads {FORMAT_VERSION}.", file=path)
    return tensors, facts


def _facts(text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except ValueError:
        facts = None
    return facts if isinstance(facts, dict) else {}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], file: Path | None = None) -> None:
    """Load weights that must fit the model name by name.

    Raises:
        CheckpointError: a name or shape does not fit; the message names the first.
    """
    own = model.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights or name not in own:
            where = "the checkpoint" if name not in weights else "the model"
            raise CheckpointError(f"does not fit the model: '{name}' is missing in {where}.", file=file)
        if own[name].shape != weights[name].shape:
            shapes = f"{list(weights[name].shape)}, the model {list(own[name].shape)}"
            raise CheckpointError(f"does not fit the model: '{name}' has shape {shapes}.", file=file)
    model.load_state_dict(dict(weights))


def _ordered_head(content: bytes) -> bytes:
    """A safetensors file's header with its metadata in the order of names: safetensors writes it in any order, and
    equal tensors are to give equal bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    return content[:8] + text.ljust(length)


def _seal(tensors: Mapping[str, Tensor], text: str) -> str:
    """sha256 over facts, names, types, shapes and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
