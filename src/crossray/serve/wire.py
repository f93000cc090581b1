"""Messages between the server and its decoder: a length and a JSON object, and for a film its pixels after it."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

_LENGTH = struct.Struct("!I")
_LARGEST_MESSAGE = 1 << 16


def send_message(to: socket.socket, message: dict[str, Any], content: bytes = b"") -> None:
    """Send an object and the bytes that belong to it."""
    head = json.dumps(message).encode()
    to.sendall(_LENGTH.pack(len(head)) + head)
    to.sendall(content)


def receive_message(source: socket.socket, deadline: float | None = None) -> dict[str, Any]:
    """An object.

    Raises:
        EOFError: the other side is gone, or sent nonsense.
        TimeoutError: ``deadline`` (of ``time.monotonic``) has passed.
    """
    (length,) = _LENGTH.unpack(receive_bytes(source, _LENGTH.size, deadline))
    if length > _LARGEST_MESSAGE:
        raise EOFError("a message of the decoder is too long")
    message: dict[str, Any] = json.loads(receive_bytes(source, length, deadline))
    return message


def receive_bytes(source: socket.socket, count: int, deadline: float | None = None) -> bytes:
    """Exactly ``count`` bytes; raises as :func:`receive_message`."""
    content = bytearray()
    while len(content) < count:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            source.settimeout(left)
        piece = source.recv(min(count - len(content), 1 << 20))
        if not piece:
            raise EOFError("the decoder is gone")
        content += piece
    return bytes(content)
