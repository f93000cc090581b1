"""What goes between this process and the one that gdcm runs in."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import IO

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class FrameShape:
    """What gdcm must know of a compressed frame besides its bytes."""

    transfer_syntax: str
    photometric: str
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool

    @property
    def decoded_bytes(self) -> int:
        """Bytes of the decoded frame."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> FrameShape:
        """From what :meth:`to_bytes` gave."""
        return cls(**json.loads(content))


def write_message(stream: IO[bytes], content: bytes) -> None:
    """Write one message: its length, then its bytes."""
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes | None:
    """One message; ``None`` if the other side is gone."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    content = stream.read(size)
    return content if len(content) == size else None
