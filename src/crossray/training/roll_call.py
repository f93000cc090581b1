"""Who is missing when processes have waited for one another in vain: each that has waited says so where all met."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from crossray.files import sha256_of_json
from crossray.training.meeting import launchers_store, torchrun_keeps_the_store

_LOOK_AGAIN_SECONDS = 0.1
_WATCHED_SECONDS = 2.0


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


def seen_from_here(place: str) -> str:
    """What the kernel says of a process that did not call, in words: whether it is gone, stopped, at work or waiting.

    Empty if it runs on another host, or the kernel tells nothing (there is no ``/proc``).

    Args:
        place: one of :func:`whereabouts`.
    """
    host, _, process = place.removeprefix("host ").rpartition(", process id ")
    if host != socket.gethostname() or not Path("/proc/self/stat").exists():
        return ""
    before = _state_and_ticks(process)
    if before is None or before[0] in "ZX":
        return "it is gone"
    if before[0] in "Tt":
        return "it is stopped, as by SIGSTOP or a debugger"
    time.sleep(_WATCHED_SECONDS)
    after = _state_and_ticks(process)
    if after is None:
        return "it is gone"
    return "it computes: it may only be slow" if after[1] > before[1] else "it lives and computes nothing: it waits"


def _state_and_ticks(process: str) -> tuple[str, int] | None:
    """State of a process's main thread, and its processor time in ticks of the kernel; None if there is none.

    Threads beside it, which look after the network, compute a little in a process that hangs too.
    """
    try:
        facts = Path("/proc", process, "task", process, "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return facts[0], int(facts[11]) + int(facts[12])
