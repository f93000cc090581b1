"""gdcm at arm's length: a damaged film may take its process down, not ours."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import IO

from crossray.data.gdcm_frame import FrameShape, read_message, write_message


class CodecGaveUpError(Exception):
    """gdcm refused a codestream, or died of it."""


@dataclass
class GdcmProcess:
    """A process that decodes frames one after another; started when first needed, and again after it died."""

    _process: subprocess.Popen[bytes] | None = None
    _lock: Lock = field(default_factory=Lock)

    def decode(self, codestream: bytes, shape: FrameShape) -> bytes:
        """The decoded bytes of a frame, ``shape.decoded_bytes`` of them.

        Raises:
            CodecGaveUpError: gdcm refused the codestream, or died of it.
        """
        with self._lock:
            requests, answers = self._streams()
            try:
                write_message(requests, shape.to_bytes())
                write_message(requests, codestream)
                decoded = read_message(answers)
            except OSError:
                decoded = None
            if decoded is None:
                self.close()
        if decoded is None or len(decoded) != shape.decoded_bytes:
            raise CodecGaveUpError("the codec cannot unfold the compressed pixels")
        return decoded

    @property
    def is_running(self) -> bool:
        """Whether a process is there for the next frame."""
        return self._process is not None

    def close(self) -> None:
        """End the process; the next frame starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _streams(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            command = [sys.executable, "-m", "crossray.data.gdcm_child"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise CodecGaveUpError("the codec's process has no pipes")
        return self._process.stdin, self._process.stdout


def gdcm_process() -> GdcmProcess:
    """This process's own gdcm process (a forked child must not share its parent's)."""
    return _of_process(os.getpid())


@lru_cache(maxsize=1)
def _of_process(_: int) -> GdcmProcess:
    process = GdcmProcess()
    atexit.register(process.close)
    return process
