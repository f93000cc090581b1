"""The process that reads uploads: C codecs run here, under a limit of memory, and may crash without harm.

Started by :class:`crossray.serve.decoder.Decoder`. An upload lives in anonymous memory, never on a disk.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.dicom_file import count_of, looks_like_dicom, malformed_as_study_error, open_dicom, read_start
from crossray.data.images import FilmPixels, claimed_pixels
from crossray.errors import StudyError
from crossray.serve.limits import Stage, UploadError
from crossray.serve.wire import receive_bytes, receive_message, send_message

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


def serve(channel: socket.socket) -> None:
    """Answer uploads until the server goes away."""
    while True:
        try:
            request = receive_message(channel)
            content = receive_bytes(channel, request["bytes"])
        except (EOFError, OSError):
            return
        try:
            pixels = decode(content, request["pixels"])
        except UploadError as error:
            send_message(channel, {"stage": error.stage, "problem": error.problem})
        else:
            send_message(channel, {"shape": pixels.shape}, pixels.tobytes())


def decode(content: bytes, most_pixels: int) -> NDArray[np.uint8]:
    """The film ``[height, width]`` uint8 in a file's bytes.

    Raises:
        UploadError: it cannot be read as a film; a header's values are not repeated in the message.
    """
    stage: Stage = "format"
    try:
        with _in_memory(content) as path:
            start = read_start(path)
            if not start.startswith(_PICTURES) and not looks_like_dicom(start):
                raise UploadError("format", "This is neither PNG nor JPEG nor DICOM.")
            stage = "header"
            if _claimed_pixels(path, start) > most_pixels:
                raise UploadError("header", f"The film has more than {most_pixels} pixels.")
            stage = "pixels"
            return np.ascontiguousarray(FilmPixels(path).read())
    except StudyError as error:
        field = f" (field '{error.field}')" if error.field else ""
        raise UploadError(stage, f"{_in_words(error.problem)}{field}") from error
    except MemoryError as error:
        raise UploadError(stage, "Reading the film needs too much memory.") from error


def _claimed_pixels(path: Path, start: bytes) -> int:
    if start.startswith(_PICTURES):
        return claimed_pixels(path)
    dataset = open_dicom(path, tags=("Rows", "Columns"))
    with malformed_as_study_error(path):
        return count_of(dataset, "Rows", path) * count_of(dataset, "Columns", path)


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[Path]:
    handle = os.memfd_create("film")
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(content)
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


def _in_words(problem: str) -> str:
    # Only the kind of mistake is told: what a header holds may name a patient.
    told = problem.split(":")[0].split("(")[0].split("'")[0].strip().rstrip(".") + "."
    # Most problems go on from the file's name ("is damaged"); those with a subject of their own stand alone.
    return told[0].upper() + told[1:] if told.startswith(("the ", "up to ")) else f"The film {told}"


def main() -> None:
    """Run with the number of an open socket and the limit of memory in bytes."""
    handle, memory = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with socket.socket(fileno=handle) as channel:
        serve(channel)


if __name__ == "__main__":
    main()
