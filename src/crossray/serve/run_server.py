"""Start the server: checks first, then uvicorn until it is interrupted."""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crossray.errors import ConfigError
from crossray.serve.limits import Limits

_SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class ServeConfig:
    """What is served and where."""

    run: Path
    also: Path | None = None
    index: Path | None = None
    store: Path | str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None


def check_host(host: str, token: str | None) -> None:
    """Refuse to be reachable from elsewhere without a token.

    Raises:
        ConfigError: ``host`` is not loopback and there is no token, or the token is short.
    """
    if token is not None and (len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isalnum()):
        raise ConfigError(f"needs {_SHORTEST_TOKEN} or more letters and digits.", field="--token")
    if token is None and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines.",
            field="--host",
            remedy="Give a --token, or serve on 127.0.0.1.",
        )


def serve(config: ServeConfig, ready: Callable[[str], object] = print) -> None:
    """Load the runs and serve them until interrupted.

    Args:
        config: what is served and where.
        ready: told the address, once films can be opened there.

    Raises:
        ConfigError: the host needs a token, the address cannot be had, or the optional dependencies are not installed.
        CheckpointError, DataError, StoreError: a run, the index or the store cannot be used.
    """
    check_host(config.host, config.token)
    absent = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigError(
            f"the viewer needs {' and '.join(absent)}.", remedy="Install it: pip install 'crossray[serve]'."
        )
    import uvicorn

    from crossray.serve.app import Desk, build_app
    from crossray.serve.engine import LoadedRun, Neighbours

    with _listening(config.host, config.port) as listener:
        folders = [config.run, *([config.also] if config.also else [])]
        runs = [LoadedRun(number, folder) for number, folder in enumerate(folders)]
        neighbours = Neighbours(config.index, runs[0], config.store) if config.index else None
        desk = Desk(runs, Limits(), neighbours, config.token)
        server = uvicorn.Server(
            uvicorn.Config(
                build_app(desk),
                log_level="warning",
                access_log=False,  # handles and words of visitors are not logged
                server_header=False,
                limit_concurrency=128,
                timeout_keep_alive=10,
            )
        )
        host = f"[{config.host}]" if ":" in config.host else config.host
        ready(f"http://{host}:{config.port}/{'?token=...' if config.token else ''}")
        try:
            with contextlib.suppress(KeyboardInterrupt):
                server.run(sockets=[listener])
        finally:
            desk.decoder.close()


def _listening(host: str, port: int) -> socket.socket:
    """Taken before anything is loaded: who comes early waits, and who cannot be served is told at once."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be served on ({error.strerror}).", field="--port", remedy="Choose another --port."
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
