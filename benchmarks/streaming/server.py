"""A small file server that answers requests for ranges of bytes, as web and object servers do, and counts them.

``with RangeServer(folder) as server`` serves from threads of this process; tests give it a fault to put in the way.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

#: Where a server tells how many requests for films it has had, and for how many bytes.
COUNTS = "/counts"


@dataclass(frozen=True)
class Request:
    """What was asked for: a file and, of it, bytes ``start`` up to ``end``; ``number`` counts requests for the same."""

    name: str
    start: int
    end: int
    number: int


@dataclass(frozen=True)
class Answer:
    """What is sent. ``cut`` closes the connection after so many bytes of the content."""

    content: bytes
    status: int = 206
    cut: int | None = None


Fault = Callable[[Request, Answer], Answer | None]
"""The answer to send instead, or ``None`` to close the connection without one."""


def _no_fault(request: Request, answer: Answer) -> Answer:
    return answer


def _everybody(headers: Any) -> bool:
    return True


@dataclass
class RangeServer:
    """Serves the files of a folder on a port of this host, a free one if none is given.

    Attributes:
        latency: seconds before each answer.
        fault: may change an answer.
        admits: by the headers of a request, whether it is answered; others get 401 and are not counted.
        requests: every request so far.
    """

    folder: Path
    latency: float = 0.0
    fault: Fault = _no_fault
    admits: Callable[[Any], bool] = _everybody
    port: int = 0
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> RangeServer:
        handler = type("Handler", (_Handler,), {"served": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self._lock = Lock()
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Of the folder."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def films(self) -> list[Request]:
        """The requests for tables of films."""
        return [request for request in self.requests if re.fullmatch(r"films-\d+\.arrow", request.name)]

    def note(self, name: str, start: int, end: int) -> Request:
        """Count a request."""
        with self._lock:
            before = sum((other.name, other.start, other.end) == (name, start, end) for other in self.requests)
            request = Request(name, start, end, before + 1)
            self.requests.append(request)
        return request


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: RangeServer

    def do_GET(self) -> None:
        if self.path == COUNTS:
            films = self.served.films()
            counts = {"requests": len(films), "bytes": sum(request.end - request.start for request in films)}
            self._send(Answer(json.dumps(counts).encode(), 200))
            return
        if not self.served.admits(self.headers):
            self.send_error(401)
            return
        path = self.served.folder / urlsplit(self.path).path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(found[1]), int(found[2] or size - 1) + 1) if found else (0, size)
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(end - start)
        request = self.served.note(path.name, start, start + len(content))
        time.sleep(self.served.latency)
        self._send(self.served.fault(request, Answer(content, 206 if found else 200)))

    def _send(self, answer: Answer | None) -> None:
        self.close_connection = answer is None or answer.cut is not None
        if answer is None:
            return
        with suppress(ConnectionError):  # whoever asked has given up
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content[: answer.cut])

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""
