"""How many processes a run has and who starts them, that they agree, and what is said when one of them is lost."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist
from lightning_fabric import Fabric

from crossray.errors import ConfigError, LostProcessError
from crossray.training.config import RuntimeConfig
from crossray.training.meeting import unreachable
from crossray.training.roll_call import missing_from, seen_from_here, whereabouts

# gloo, which carries processes on CPUs, raises plain RuntimeErrors; each names a file of its source.
_GLOO = ("gloo/", "Connection closed by peer", "Connection reset by peer")

_LONGEST_ROLL_CALL_SECONDS = 10.0


def processes_of(runtime: RuntimeConfig, environment: Mapping[str, str]) -> tuple[int, int]:
    """Processes a host, and hosts: those of torchrun or SLURM if they started this process, else the recipe's.

    Raises:
        ConfigError: the recipe asks for other numbers, or the hosts have different numbers of processes.
    """
    launched = _torchrun(environment) or _slurm(environment)
    if launched is None:
        return runtime.devices, runtime.nodes
    launcher, processes, hosts = launched
    if processes % hosts:
        raise ConfigError(
            f"{launcher} started {processes} processes on {hosts} hosts: every host needs the same number.",
            remedy="Give every host as many processes as it has devices.",
        )
    found, asked = (processes // hosts, hosts), (runtime.devices, runtime.nodes)
    if asked not in ((1, 1), found):
        raise ConfigError(
            f"the recipe asks for {asked[0]} devices on {asked[1]} nodes, {launcher} started {found[0]} on {found[1]}.",
            field="runtime.devices",
            remedy="Leave runtime.devices and runtime.nodes out: the launcher's numbers are taken.",
        )
    return found


def _torchrun(environment: Mapping[str, str]) -> tuple[str, int, int] | None:
    if "TORCHELASTIC_RUN_ID" not in environment:
        return None
    processes, on_this_host = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
    return "torchrun", processes, -(-processes // on_this_host)


def _slurm(environment: Mapping[str, str]) -> tuple[str, int, int] | None:
    # As Fabric decides it: a shell inside a job, whose name is "bash" or "interactive", is no task of it.
    if "SLURM_NTASKS" not in environment or environment.get("SLURM_JOB_NAME") in ("bash", "interactive"):
        return None
    processes = int(environment["SLURM_NTASKS"])
    if processes > 1 and "SLURM_NTASKS_PER_NODE" not in environment:
        raise ConfigError(
            f"SLURM started {processes} tasks and does not say how many a node.",
            remedy="Ask SLURM for --nodes and --ntasks-per-node in place of --ntasks.",
        )
    return "SLURM", processes, int(environment.get("SLURM_NNODES", "1"))


def require_agreement(fabric: Fabric, folder: Path, identity: str) -> None:
    """Refuse processes that would train different things as one. Every process calls it, once the folder is set up.

    Args:
        folder: the run's.
        identity: a hash of recipe, split and store, which a stale copy on one host changes.

    Raises:
        ConfigError: on the processes that differ from the first; the others are told that those are lost.
    """
    expected = fabric.broadcast(identity)
    if identity != expected:
        raise ConfigError(
            f"{_who(fabric)} has another recipe, split or store than the first process.",
            remedy="Give every host the same recipe, split and store.",
        )
    if not folder.is_dir():
        raise ConfigError(
            f"{_who(fabric)} does not see the run's folder that the first process has made.",
            file=folder,
            remedy="Put it on a file system that all hosts share.",
        )


@contextmanager
def explained_meeting() -> Iterator[None]:
    """Turn what the network says when processes do not find each other at the start into one error.

    Raises:
        LostProcessError: another process did not come, or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_of_the_network(error):
            raise
        raise unreachable(_reason(error)) from error


@contextmanager
def explained_lost_processes(fabric: Fabric, folder: Path, timeout_seconds: float) -> Iterator[None]:
    """Turn what the network says when a process of the run is gone into one error that says what to do.

    Every process enters it together. One that has waited in vain asks who else has, and so finds out which hangs.

    Args:
        folder: the run's.
        timeout_seconds: how long processes wait for one another.

    Raises:
        LostProcessError: another process was killed or ended with an error of its own, hangs, or cannot be reached.
    """
    if fabric.world_size == 1:
        yield
        return
    places: list[str] = []
    try:
        places = whereabouts(fabric.world_size)
        yield
    except RuntimeError as error:
        if not is_of_the_network(error):
            raise
        patience = min(timeout_seconds, _LONGEST_ROLL_CALL_SECONDS)
        missing = missing_from(fabric.global_rank, places, patience) if places and _is_timeout(error) else []
        if missing:
            names = " and ".join(f"process {rank + 1} ({_known_of(places[rank])})" for rank in missing)
            raise _hanging(fabric, folder, names, timeout_seconds) from error
        raise LostProcessError(
            f"{_who(fabric)} has lost the others: one of them was killed or ended with an error of its own, "
            f"or the network between them is cut ({_reason(error)}).",
            file=folder,
            remedy="The same command, on every host, goes on from the last checkpoint.",
        ) from error


def _known_of(place: str) -> str:
    seen = seen_from_here(place)
    return f"{place}; {seen}" if seen else place


def _hanging(fabric: Fabric, folder: Path, names: str, timeout_seconds: float) -> LostProcessError:
    return LostProcessError(
        f"{_who(fabric)} has lost the others: {names} did not answer for {timeout_seconds:g} seconds. "
        "It hangs, is only slow, was stopped or killed, or the network is cut.",
        file=folder,
        remedy="Look for it on its host: if it computes (top shows it), it was only slow, so raise "
        "runtime.timeout_seconds. If it is still there, end it (kill -9 with its process id; torchrun does it itself): "
        "then the same command, on every host, goes on from the last checkpoint.",
    )


def _is_timeout(error: RuntimeError) -> bool:
    return re.search(r"timed? ?out", str(error), re.IGNORECASE) is not None


def is_of_the_network(error: Exception) -> bool:
    """Whether another process of the run is gone, hangs or cannot be reached."""
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in _GLOO)


def _who(fabric: Fabric) -> str:
    return f"process {fabric.global_rank + 1} of {fabric.world_size} (host {socket.gethostname()})"


def _reason(error: RuntimeError) -> str:
    """The first sentence of the last line, without the place in the library's source."""
    return re.sub(r"^\[[^\]]*\]\s*", "", str(error).strip().splitlines()[-1]).partition(". ")[0]
