"""The store in which processes meet, and a name for each meeting: torchrun keeps one store over its restarts."""

from __future__ import annotations

import os
import socket
import time
import uuid
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # public, not marked so

from crossray.errors import LostProcessError

_LOOK_AGAIN_SECONDS = 0.05


def torchrun_keeps_the_store() -> bool:
    """Whether the store lives in torchrun; otherwise it lives in the first process."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def launchers_store(timeout: timedelta) -> Store:
    """A connection of one's own to the store of this run's processes.

    Raises:
        OSError, RuntimeError: nobody is there, or nobody answers.
    """
    place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    # Where there is nobody, torch prints a stack of its own.
    socket.create_connection(place, timeout.total_seconds()).close()
    return TCPStore(*place, is_master=False, wait_for_workers=False, timeout=timeout)


def await_store(address: str, port: int, timeout: timedelta) -> None:
    """Wait until the first process listens where all meet: torch, which waits too, prints stacks of its own meanwhile.

    Raises:
        LostProcessError: it does not, or this host does not reach it.
    """
    until = time.monotonic() + timeout.total_seconds()
    while True:
        try:
            socket.create_connection((address, port), timeout.total_seconds()).close()
            return
        except OSError as error:
            if time.monotonic() >= until:
                raise unreachable(str(error)) from error
        time.sleep(_LOOK_AGAIN_SECONDS)


def unreachable(reason: str) -> LostProcessError:
    """That processes do not find each other at the start."""
    return LostProcessError(
        f"host {socket.gethostname()} does not reach the other processes of the run ({reason}).",
        remedy="Check that all hosts were started, and that they reach the first one's address and port.",
    )


def meet(backend: str, rank: int, world: int, timeout: timedelta, device: torch.device) -> None:
    """Set up the process group of processes that torchrun has started, perhaps not for the first time.

    torch itself would look up addresses in the store at which the processes of before the restart could be reached.

    Raises:
        LostProcessError: some did not come, or torchrun's store cannot be reached.
    """
    try:
        store = launchers_store(timeout)
    except OSError as error:
        raise LostProcessError(
            f"torchrun's store at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} is not reached ({error}).",
            remedy="Check that torchrun runs on the first host, and that this one reaches its address and port.",
        ) from error
    name = agree_on_name(store, rank, world, timeout)
    dist.init_process_group(
        backend,
        store=PrefixStore(name, store),
        rank=rank,
        world_size=world,
        timeout=timeout,
        device_id=None if device.type == "cpu" else device,
    )


def agree_on_name(store: Store, rank: int, world: int, timeout: timedelta) -> str:
    """A name for this meeting, which nothing that earlier ones have left in the store is mistaken for.

    The first process makes it up. The others leave a number of their own; only under that number do they look for it.

    Raises:
        LostProcessError: some did not come.
    """
    own = uuid.uuid4().hex
    if rank != 0:
        store.set(f"crossray/arrived/{rank}", own)
        name = store.get(f"crossray/answer/{own}").decode()  # waits for it
        store.set(f"{name}/{rank}", "")
        return name
    until, missing = time.monotonic() + timeout.total_seconds(), set(range(1, world))
    while missing:
        for other in sorted(missing):
            if store.check([f"crossray/arrived/{other}"]):
                number = store.get(f"crossray/arrived/{other}").decode()
                store.set(f"crossray/answer/{number}", own)  # of an earlier meeting: then nobody reads it
            if store.check([f"{own}/{other}"]):
                missing.remove(other)
        if time.monotonic() > until:
            names = " and ".join(f"process {other + 1}" for other in sorted(missing))
            raise LostProcessError(f"{names} of {world} did not come.", remedy="Check that all hosts were started.")
        time.sleep(_LOOK_AGAIN_SECONDS)
    return own
