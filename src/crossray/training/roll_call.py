"""Who is missing when processes have waited for one another in vain: each that has waited says so where all met."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist

from crossray.files import sha256_of_json
from crossray.training.meeting import launchers_store, torchrun_keeps_the_store

_LOOK_AGAIN_SECONDS = 0.1


def whereabouts(world: int) -> list[str]:
    """The host and process id of every process, by rank; all of them call it."""
    found = [""] * world
    dist.all_gather_object(found, f"host {socket.gethostname()}, process id {os.getpid()}")
    return found


def missing_from(rank: int, places: list[str], patience: float) -> list[int]:
    """Ranks that do not call here too within ``patience`` seconds; empty where that cannot be known.

    Whoever waits in vain for a collective operation to end calls, and so does everyone else who waits for the same
    process. That one does not, be it stopped or busy with something that does not end: its own calls are not reached.

    The launcher's store is asked over a connection of its own, from a thread that is left behind if there is no answer:
    outside torchrun the store lives in the first process, which may be the one that hangs.

    Args:
        rank: of this process.
        places: what :func:`whereabouts` gave.
        patience: seconds.
    """
    here: set[int] = set()
    thread = threading.Thread(target=_call, args=(rank, places, patience, here), daemon=True)
    thread.start()
    thread.join(patience + 1.0)
    if rank in here:
        return sorted(set(range(len(places))) - here)
    return [] if rank == 0 or torchrun_keeps_the_store() else [0]


def _call(rank: int, places: list[str], patience: float, here: set[int]) -> None:
    until = time.monotonic() + patience
    name = sha256_of_json(list(places))  # not that of an earlier start: torchrun's store outlives its processes
    keys = [f"crossray/roll-call/{name}/{other}" for other in range(len(places))]
    with suppress(RuntimeError, OSError):  # no connection, or not any more
        store = launchers_store(timedelta(seconds=patience))
        store.set(keys[rank], "")
        while len(here) < len(keys) and time.monotonic() < until:
            here |= {other for other, key in enumerate(keys) if other not in here and store.check([key])}
            time.sleep(_LOOK_AGAIN_SECONDS)
