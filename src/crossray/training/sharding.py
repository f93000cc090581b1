"""Weights shared out among processes (FSDP), for models that do not fit on one device with their gradient and moments.

Each process holds a part of every weight of the encoders' blocks (nearly all weights), of its gradient and of its
moments; a block's weights come together while it runs, forward and backward. What is left (embeddings, heads,
temperatures) every process holds whole. A weight stays a parameter of its own under its own name, so learning rates,
clipping by encoder and checkpoints are those of a run that is not shared out, and one goes on where the other stopped.

Through ``torch.distributed.fsdp.fully_shard`` rather than Fabric's ``FSDPStrategy``: that one flattens weights into
vectors without names or shapes, wants every call to pass through ``forward``, and runs on GPUs only, where no test of
ours does.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from packaging.version import Version
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from crossray.encoders.image import ImageEncoder
from crossray.encoders.text import TextEncoder
from crossray.errors import ConfigError
from crossray.methods.base import Method
from crossray.training.config import Precision

_FIRST_TORCH = Version("2.7")  # whose fully_shard leaves single parameters out


def require_shareable(processes: int, precision: Precision) -> None:
    """Refuse to share out weights where that cannot be done.

    Raises:
        ConfigError: there is one process, the loss is scaled, or torch is too old.
    """
    if processes == 1:
        raise ConfigError(
            "fsdp shares weights out among processes, and there is one.",
            field="runtime.strategy",
            remedy="Start several (runtime.devices, torchrun or SLURM), or leave runtime.strategy out.",
        )
    if precision == "16-mixed":
        raise ConfigError(
            "fsdp does not go together with a scaled loss.",
            field="training.precision",
            remedy="Choose bf16-mixed or 32-true, or leave runtime.strategy out.",
        )
    if Version(torch.__version__) < _FIRST_TORCH:
        raise ConfigError(
            f"fsdp needs torch {_FIRST_TORCH}; this is {torch.__version__}.",
            field="runtime.strategy",
            remedy="Install a newer torch, or leave runtime.strategy out.",
        )


def share_out(method: Method, device: torch.device, world: int) -> None:
    """Share out the weights of the encoders' blocks. Every process calls it, with the same weights, and once.

    Gradients of what is shared out arrive averaged over processes.
    """
    mesh = init_device_mesh(device.type, (world,))
    for encoder in method.children():
        if isinstance(encoder, ImageEncoder | TextEncoder):
            for block in encoder.blocks:
                # Weights are cut along their first dimension, which a channels-last one does not have in one piece.
                fully_shard(block.to(memory_format=torch.contiguous_format), mesh=mesh)
    whole = {parameter for parameter in method.parameters() if not is_shared_out(parameter)}
    # Above all blocks stands the one that says when a pass begins, so that weights are fetched ahead of their use.
    fully_shard(method, mesh=mesh, ignored_params=whole)
    register_fsdp_forward_method(method, "encode")


def is_shared_out(tensor: Tensor) -> bool:
    """Whether this process has a part of it only."""
    return isinstance(tensor, DTensor)


def has_shared_out_weights(method: Method) -> bool:
    """Whether no process can run the model without the others."""
    return any(is_shared_out(parameter) for parameter in method.parameters())


def put_together(tensor: Tensor) -> Tensor:
    """The whole of a tensor; of one that is shared out, every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def put_together_on_host(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Tensors for a file, one after the other; nothing where they are not kept. Every process must call it."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whole = put_together(tensor)
        if keep:
            found[name] = whole.cpu() if is_shared_out(tensor) else whole
    return found


def own_part(tensor: Tensor) -> Tensor:
    """What this process has of a tensor, as a plain one with the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shared_out_like(whole: Tensor, other: Tensor) -> Tensor:
    """A whole tensor shared out as the other one is. Every process must call it."""
    if not isinstance(other, DTensor):
        return whole
    return distribute_tensor(whole.to(other.device), other.device_mesh, other.placements)
