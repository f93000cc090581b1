"""Two hosts on one Linux machine: network namespaces with a name each and a cable between them (needs root)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Literal

Host = Literal["a", "b"]
HOSTS: tuple[Host, Host] = ("a", "b")
ADDRESSES: dict[Host, str] = {"a": "10.77.0.1", "b": "10.77.0.2"}
CABLE = "cable"


class TwoHosts:
    """While the block runs there are two hosts; they share the file system and nothing of the network but the cable."""

    def __init__(self) -> None:
        self._names: dict[Host, str] = {host: f"crossray-{os.getpid()}-{host}" for host in HOSTS}

    def __enter__(self) -> TwoHosts:
        for name in self._names.values():
            _ip("netns", "add", name)
        one, other = self._names.values()
        _ip("link", "add", CABLE, "netns", one, "type", "veth", "peer", "name", CABLE, "netns", other)
        for host, name in self._names.items():
            _ip("-n", name, "address", "add", f"{ADDRESSES[host]}/24", "dev", CABLE)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", CABLE, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def command(self, host: Host, command: Sequence[str]) -> list[str]:
        """The command, as it is run on a host; the process that is started becomes the command itself."""
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', f"host-{host}"]
        return ["ip", "netns", "exec", self._names[host], *named, *command]

    def cut(self) -> None:
        """Pull the cable."""
        _ip("-n", self._names["b"], "link", "set", CABLE, "down")

    def mend(self) -> None:
        """Put it back."""
        _ip("-n", self._names["b"], "link", "set", CABLE, "up")

    def bytes_sent(self, host: Host) -> int:
        """Bytes that the host has sent over the cable, headers included."""
        (link,) = json.loads(_ip("-n", self._names[host], "-s", "-j", "link", "show", "dev", CABLE))
        return int(link["stats64"]["tx"]["bytes"])


def why_impossible() -> str | None:
    """Why this machine cannot make two hosts; ``None`` if it can."""
    try:
        with TwoHosts():
            return None
    except FileNotFoundError:
        return "there is no `ip` command (iproute2)"
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted: {error.stderr.strip()}"


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
