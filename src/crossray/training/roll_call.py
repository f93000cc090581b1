"""Who is missing when processes have waited for one another in vain: each that has waited says so where all met."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, yet not marked as exported

_LOOK_AGAIN_SECONDS = 0.1


def whereabouts(world: int) -> list[str]:
    """The host and process id of every process, by rank; all of them call it."""
    found = [""] * world
    dist.all_gather_object(found, f"host {socket.gethostname()}, process id {os.getpid()}")
    return found


def missing_from(rank: int, world: int, patience: float) -> list[int]:
    """Ranks that do not call here too within ``patience`` seconds; empty where that cannot be known.

    Whoever waits in vain for a collective operation to end calls, and so does everyone else who waits for the same
    process. That one does not, be it stopped or busy with something that does not end: its own calls are not reached.

    The launcher's store is asked over a connection of its own, from a thread that is left behind if there is no answer:
    outside torchrun the store lives in the first process, which may be the one that hangs.
    """
    here: set[int] = set()
    thread = threading.Thread(target=_call, args=(rank, world, patience, here), daemon=True)
    thread.start()
    thread.join(patience + 1.0)
    if rank in here:
        return sorted(set(range(world)) - here)
    in_first_process = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    return [0] if in_first_process and rank != 0 else []


def _call(rank: int, world: int, patience: float, here: set[int]) -> None:
    until = time.monotonic() + patience
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun's store outlives its processes
    with suppress(RuntimeError, OSError):  # no connection, or not any more
        place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        socket.create_connection(place, patience).close()  # where there is none, torch prints its own stack
        store = TCPStore(*place, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=patience))
        keys = [f"crossray/roll-call/{attempt}/{other}" for other in range(world)]
        store.set(keys[rank], "")
        while len(here) < world and time.monotonic() < until:
            here |= {other for other in range(world) if other not in here and store.check([keys[other]])}
            time.sleep(_LOOK_AGAIN_SECONDS)
