"""``crossray serve`` in a process of its own on a free port, with what its processes hold of memory."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)

_START_SECONDS = 600.0
_STOP_SECONDS = 120.0


@dataclass(frozen=True)
class Answer:
    """Status, body, and how long it took in seconds."""

    status: int
    content: bytes
    seconds: float

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.content)


class Visitor:
    """One kept connection to a server."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Answer:
        """One request."""
        started = time.perf_counter()
        try:
            self._connection.request(method, path, body, {"content-type": kind} if body is not None else {})
            answer = self._connection.getresponse()
            content = answer.read()
        except (http.client.HTTPException, OSError):
            self.close()
            raise
        return Answer(answer.status, content, time.perf_counter() - started)

    def post(self, path: str, question: dict[str, Any]) -> Answer:
        """One question in JSON."""
        return self.ask("POST", path, json.dumps(question).encode())

    def close(self) -> None:
        """End the connection; the next request opens another."""
        self._connection.close()


@dataclass(frozen=True)
class RunningServer:
    """A server that answers."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def resident(self) -> dict[str, int]:
        """Resident bytes of the server, and of the processes under it together (its decoders and their codecs)."""
        return self._of_each(_resident)

    def processor_seconds(self) -> dict[str, float]:
        """Processor time of the same two; of processes under it that are there now."""
        return self._of_each(_processor_seconds)

    def _of_each(self, measure: Callable[[int], Number]) -> dict[str, Number]:
        family = [self.process.pid]
        parents = {int(entry.name): _stat(int(entry.name))[1] for entry in Path("/proc").glob("[0-9]*")}
        for pid in family:
            family += [child for child, parent in parents.items() if int(parent) == pid]
        return {"server": measure(family[0]), "decoders": sum(map(measure, family[1:]), start=measure(0))}


@contextmanager
def running_server(run: Path, log: Path, *options: str) -> Iterator[RunningServer]:
    """Serve a run until the block ends.

    Raises:
        RuntimeError: the server ended, or did not answer.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from crossray.cli.main import main; main()",
        "serve",
        str(run),
        "--port",
        str(port),
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(port, process, log)
        yield RunningServer(port, process, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        finally:
            process.kill()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        visitor = Visitor(port)
        with suppress(OSError):
            visitor.ask("GET", "/api/health")
            return
        time.sleep(0.2)
    raise RuntimeError(f"the server does not answer:\n{log.read_text()}")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/pid/stat after the name, which may hold anything: state, parent, ...; zeros if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return ["0"] * 50


def _processor_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0
