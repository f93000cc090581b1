"""Functions run in fresh processes: to be killed, or to train together."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Literal

# A server that has imported torch once and never used it: forking from it is quick and, unlike forking from pytest,
# inherits no thread pools.
_CONTEXT = multiprocessing.get_context("forkserver")
# Only against a process that hangs: a loaded machine must not fail a test.
_PATIENCE_SECONDS = 300
_CONTEXT.set_forkserver_preload(["crossray.training.loop"])


def run_in_process(function: Callable[..., None], *arguments: Any) -> int:
    """The exit code of a process that calls the function (negative: the signal that killed it)."""
    process = _CONTEXT.Process(target=_single_threaded, args=(function, arguments))
    process.start()
    process.join(_PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{function.__name__} did not end within {_PATIENCE_SECONDS} seconds")
    return process.exitcode


def run_together(
    world: int,
    function: Callable[..., None],
    *arguments: Any,
    exit_codes: Sequence[int] | None = None,
    launcher: Literal["torchrun", "slurm"] = "torchrun",
) -> None:
    """Call the function in ``world`` processes that find each other as under a launcher, and expect how each ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = _torchrun if launcher == "torchrun" else _slurm
    processes = [
        _CONTEXT.Process(target=_ranked, args=(variables(rank, world, port), function, arguments))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_PATIENCE_SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == (list(exit_codes) if exit_codes is not None else [0] * world), codes


def _single_threaded(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(1)
    function(*arguments)


def _torchrun(rank: int, world: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "tests",
    }


def _slurm(rank: int, world: int, port: int) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": "4242",
        "SLURM_JOB_NAME": "train",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NNODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_NTASKS": str(world),
        "SLURM_NTASKS_PER_NODE": str(world),
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "MASTER_PORT": str(port),
    }


def _ranked(variables: dict[str, str], function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ |= variables
    _single_threaded(function, arguments)
