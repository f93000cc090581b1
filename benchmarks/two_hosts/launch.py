"""`crossray pretrain` on one host alone or under torchrun on both, watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.two_hosts.hosts import ADDRESSES, CABLE, HOSTS, Host, TwoHosts
from safetensors import safe_open

LOST = "has lost the others"
_PORT = 29400
_TICKS = os.sysconf("SC_CLK_TCK")
_BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Reading:
    """What was seen when a step had just been logged: seconds on the clock, steps, processor seconds, bytes sent."""

    seconds: float
    steps: int
    processor_seconds: float
    sent: int


@dataclass
class Training:
    """One `crossray pretrain` into ``out``, on the hosts that were asked for. Leaving the block ends what still runs.

    Args:
        settings: overrides of the recipe.
        restarts: how often torchrun may start the processes again.
    """

    hosts: TwoHosts
    folder: Path
    out: str
    where: Sequence[Host] = HOSTS
    settings: Sequence[str] = ()
    restarts: int = 3
    agents: dict[Host, subprocess.Popen[bytes]] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)

    def __enter__(self) -> Training:
        (self.folder / "logs").mkdir(exist_ok=True)
        for host in self.where:
            self.start(host)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for agent in self.agents.values():
            if agent.poll() is None:
                agent.terminate()
        for agent in self.agents.values():
            agent.wait()

    def start(self, host: Host) -> None:
        """Give the command on a host (again)."""
        command = [str(_BIN / "crossray"), "pretrain", "recipe.yaml", "--out", self.out, *self.settings]
        if len(self.where) > 1:
            command = [*self._torchrun(host), *command]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": CABLE, "TP_SOCKET_IFNAME": CABLE}
        with self.log(host).open("ab") as log:
            self.agents[host] = subprocess.Popen(
                self.hosts.command(host, command), cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def _torchrun(self, host: Host) -> list[str]:
        return [
            str(_BIN / "torchrun"),
            *("--nnodes", str(len(self.where)), "--nproc-per-node", "1", "--max-restarts", str(self.restarts)),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESSES['a']}:{_PORT}", "--rdzv-id", "two-hosts"),
            *("--rdzv-conf", f"is_host={int(host == 'a')},join_timeout=600", "--local-addr", ADDRESSES[host]),
            "--no-python",
        ]

    def log(self, host: Host) -> Path:
        """What the command printed on a host."""
        return self.folder / "logs" / f"{self.out}-{host}.txt"

    def worker(self, host: Host) -> int | None:
        """The training process of a host; ``None`` while there is none."""
        agent = self.agents[host].pid
        if len(self.where) == 1:
            return agent
        found = [child for task in Path(f"/proc/{agent}/task").glob("*/children") for child in task.read_text().split()]
        return int(found[0]) if found else None

    def until(self, condition: Callable[[], bool], what: str, patience: float = 900.0) -> float:
        """Wait for a condition, reading clocks meanwhile; the seconds it took."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > patience:
                raise TimeoutError(f"{self.out}: {what} did not happen within {patience:.0f} seconds.")
            self._read()
            time.sleep(0.05)
        return time.monotonic() - start

    def finish(self) -> None:
        """Wait until the run is over on every host, and refuse one that failed."""
        self.until(lambda: all(agent.poll() is not None for agent in self.agents.values()), "the end")
        failed = {host: agent.returncode for host, agent in self.agents.items() if agent.returncode}
        if failed:
            raise RuntimeError(f"{self.out} failed, exit codes by host: {failed}. See {self.folder / 'logs'}.")

    def lines(self) -> list[dict[str, Any]]:
        """The run's log so far."""
        path = self.folder / self.out / "metrics.jsonl"
        whole = (
            [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            if path.is_file()
            else []
        )
        return [json.loads(line) for line in whole]

    def steps(self) -> int:
        """Steps that are logged."""
        return max((line["step"] for line in self.lines()), default=0)

    def saved_step(self) -> int:
        """The step of the last checkpoint."""
        with safe_open(self.folder / self.out / "checkpoints" / "state.safetensors", framework="numpy") as file:
            return int(json.loads(file.metadata()["crossray"])["place"]["step"])

    def losses(self) -> list[float]:
        """The training loss of every step."""
        return [line["loss"] for line in self.lines() if line["kind"] == "train"]

    def _read(self) -> None:
        steps = self.steps()
        if steps and (not self.readings or self.readings[-1].steps != steps):
            seconds = sum(_processor_seconds(self.worker(host)) for host in self.where)
            sent = sum(self.hosts.bytes_sent(host) for host in self.where)
            self.readings.append(Reading(time.monotonic(), steps, seconds, sent))


def _processor_seconds(pid: int | None) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # it has just ended; a reading without it is not used
    return (int(fields[11]) + int(fields[12])) / _TICKS
