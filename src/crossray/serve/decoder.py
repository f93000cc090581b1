"""Reading uploads at arm's length: in a process with limits of memory and time, killed and replaced when it must be."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from queue import LifoQueue
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from crossray.serve.limits import STAGES, Limits, UploadError
from crossray.serve.wire import receive_bytes, receive_message, send_message

_START_SECONDS = 60.0


class Decoders:
    """Decoding processes that read films side by side; one that is idle is taken before another is started.

    Args:
        limits: of each, and how many there are at most.
    """

    def __init__(self, limits: Limits) -> None:
        self._all = [Decoder(limits) for _ in range(limits.decoders)]
        self._idle: LifoQueue[Decoder] = LifoQueue()
        for decoder in reversed(self._all):
            self._idle.put(decoder)

    @property
    def starts(self) -> int:
        """How often a process was started."""
        return sum(decoder.starts for decoder in self._all)

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """As :meth:`Decoder.decode`, by the process that is idle, or the next to be."""
        decoder = self._idle.get()
        try:
            return decoder.decode(content)
        finally:
            self._idle.put(decoder)

    def close(self) -> None:
        """End all processes."""
        for decoder in self._all:
            decoder.close()


class Decoder:
    """One decoding process, started when first needed and again after it died. Safe to call from several threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.starts = 0
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """The film ``[height, width]`` uint8 in a file's bytes, bone bright.

        Raises:
            UploadError: it cannot be read as a film within the limits.
        """
        if len(content) > self.limits.upload_bytes:
            raise UploadError("size", f"The file has more than {self.limits.upload_bytes} bytes.")
        with self._lock:
            fresh = self._process is None
            channel = self._started()
            # A new process first imports its libraries: that is not the film's fault.
            deadline = time.monotonic() + self.limits.decode_seconds + (_START_SECONDS if fresh else 0.0)
            try:
                return self._ask(channel, content, deadline)
            except TimeoutError:
                self._kill()
                raise UploadError("time", "Reading the film took too long and was stopped.") from None
            except (OSError, EOFError, ValueError):
                self._kill()
                raise UploadError("worker", "The film is damaged: its decoder gave up.") from None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._kill()

    def _ask(self, channel: socket.socket, content: bytes, deadline: float) -> NDArray[np.uint8]:
        channel.settimeout(max(deadline - time.monotonic(), 0.001))
        send_message(channel, {"bytes": len(content), "pixels": self.limits.pixels}, content)
        answer = receive_message(channel, deadline)
        if "shape" not in answer:
            stage = answer["stage"]
            raise UploadError(stage if stage in STAGES else "worker", str(answer["problem"]))
        height, width = (int(side) for side in answer["shape"])
        if not 0 < height * width <= self.limits.pixels:
            raise EOFError("the decoder answered nonsense")
        pixels = receive_bytes(channel, height * width, deadline)
        return np.frombuffer(pixels, dtype=np.uint8).reshape(height, width)

    def _started(self) -> socket.socket:
        if self._channel is not None:
            return self._channel
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "crossray.serve.decode_child", str(theirs.fileno())]
        self._process = subprocess.Popen(
            [*command, str(self.limits.decode_bytes)],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # its own codec processes are killed with it
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        theirs.close()
        self.starts += 1
        self._channel = ours
        return ours

    def _kill(self) -> None:
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
