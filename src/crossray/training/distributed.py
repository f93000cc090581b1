"""Several processes as one: features gathered with their gradient, parameter gradients averaged.

The gradients are averaged here, after the backward pass, and not by DDP's hooks: a step may run several backward
passes (micro-batches, gradient caching), a term may be switched off and leave parameters without gradient, and
parameters may belong to the loss alone (a temperature). One explicit reduction is right for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from crossray.devices import to_device
from crossray.methods.base import Gather, SingleProcess
from crossray.training.config import Precision, RuntimeConfig
from crossray.training.meeting import await_store, meet, torchrun_keeps_the_store
from crossray.training.processes import explained_meeting, processes_of
from crossray.training.sharding import is_shared_out, require_shareable

_BUCKET_BYTES = 25 * 2**20


class _AllGather(torch.autograd.Function):
    """``[b, ...]`` to ``[world * b, ...]``; backward sums over processes and hands the own rows back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.own = rows.shape[0]
        pieces = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(pieces, rows.contiguous())
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)  # autograd may still use the original
        dist.all_reduce(gradient)
        start = dist.get_rank() * ctx.own
        return gradient[start : start + ctx.own]


class ProcessGather:
    """The gather of one process among several; every process must hand in the same number of rows.

    Args:
        device: where they meet; rows that stayed with the host are brought there first.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def rank(self) -> int:
        """This process's place."""
        return dist.get_rank()

    def __call__(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in rank order."""
        if rows.dtype == torch.bool:  # not every backend carries booleans
            return self(rows.to(torch.uint8)).to(torch.bool)
        gathered: Tensor = _AllGather.apply(to_device(rows, self._device))
        return gathered


class _ExplicitReduction(DDPStrategy):
    """Fabric's DDP (launching, devices, process group) without the DDP wrapper: see the module's docstring."""

    def _setup_distributed(self) -> None:
        self._set_world_ranks()
        timeout = self._timeout or timedelta(seconds=RuntimeConfig().timeout_seconds)
        where = self.cluster_environment
        if torchrun_keeps_the_store():
            meet(self._get_process_group_backend(), self.global_rank, self.world_size, timeout, self.root_device)
        elif self.global_rank != 0 and where is not None and not dist.is_initialized():
            await_store(where.main_address, where.main_port, timeout)
        super()._setup_distributed()  # leaves a process group as it is that is there already

    def setup_module(self, module: nn.Module) -> Any:
        return module


def start_fabric(runtime: RuntimeConfig, precision: Precision) -> Fabric:
    """Devices, precision and processes. Under torchrun or SLURM the processes are theirs, otherwise Fabric's.

    Raises:
        ConfigError: the recipe asks for other processes than were started.
        LostProcessError: the other processes cannot be reached.
    """
    devices, nodes = processes_of(runtime, os.environ)
    if runtime.strategy == "fsdp":
        require_shareable(devices * nodes, precision)
    timeout = timedelta(seconds=runtime.timeout_seconds)
    fabric = Fabric(
        accelerator=runtime.accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=_ExplicitReduction(timeout=timeout) if devices * nodes > 1 else "auto",
        precision=precision,
    )
    with explained_meeting():
        fabric.launch()
    return fabric


@contextmanager
def started_fabric(runtime: RuntimeConfig, precision: Precision) -> Iterator[Fabric]:
    """:func:`start_fabric`; the group of processes, if it made one, is taken apart however the block ends.

    torch warns of a group that outlives its process (NCCL), and its threads would go on to ask after lost ones.
    """
    inherited = dist.is_initialized()
    fabric = start_fabric(runtime, precision)
    try:
        yield fabric
    finally:
        if dist.is_initialized() and not inherited:
            with suppress(RuntimeError):  # what broke the group is told already
                dist.destroy_process_group()


def gather_of(fabric: Fabric) -> Gather:
    """The gather that fits the number of processes."""
    return ProcessGather(fabric.device) if fabric.world_size > 1 else SingleProcess()


def average_gradients(parameters: Iterable[nn.Parameter], world: int) -> None:
    """Average gradients over processes, in buckets; a parameter without a gradient has none on any process.

    Those of weights that are shared out are averages already.
    """
    if world == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None and not is_shared_out(p)]
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        dist.all_reduce(flat)
        flat.div_(world)
        pieces = torch.split(flat, [gradient.numel() for gradient in bucket])
        for gradient, piece in zip(bucket, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))


def share_state(model: nn.Module, world: int, *, buffers_only: bool = False) -> None:
    """Give every process the first one's state (running statistics follow each process's own rows)."""
    if world == 1:
        return
    parameters = () if buffers_only else (p.data for p in model.parameters() if not is_shared_out(p))
    for tensor in (*model.buffers(), *parameters):
        dist.broadcast(tensor, src=0)


def vote(flags: Sequence[bool], fabric: Fabric) -> Sequence[Tensor]:
    """For each flag a scalar, more than 0 if it is up on any process, not read back yet; none for a lone process."""
    if fabric.world_size == 1:
        return ()
    votes = to_device(torch.tensor(flags, dtype=torch.float32), fabric.device)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return votes.unbind()


def sum_over_processes(values: Tensor, world: int) -> Tensor:
    """The sum of a tensor over processes."""
    if world > 1:
        dist.all_reduce(values)
    return values


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive gradients of one type, about 25 MB together."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size >= _BUCKET_BYTES or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel() * gradient.element_size()
    if bucket:
        yield bucket
