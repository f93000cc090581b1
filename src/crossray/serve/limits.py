"""What the server accepts, and the error that says which stage of reading refused an upload."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crossray.errors import CrossRayError
from crossray.settings import Settings

NOTICE = "Research only, not for diagnosis."

Stage = Literal["size", "format", "header", "pixels", "time", "worker"]
"""Where an upload was refused: its bytes, its kind, its header, its pixels, too slow, or the decoder died of it."""

STAGES: tuple[Stage, ...] = ("size", "format", "header", "pixels", "time", "worker")

STATUS_OF_STAGE: dict[Stage, int] = {
    "size": 413,
    "format": 415,
    "header": 422,
    "pixels": 422,
    "time": 422,
    "worker": 422,
}


class Limits(Settings):
    """Bounds of one server.

    Attributes:
        upload_bytes: of one film's file.
        uploads: received and decoded at once; more wait, and hold neither memory nor a thread meanwhile.
        decoders: processes that decode at once.
        request_bytes: of any other request.
        pixels: of one film.
        decode_seconds: until the decoder is killed.
        decode_bytes: address space of the decoder (RLIMIT_AS).
        receive_seconds: for an upload to arrive.
        films: held in memory at once; the one used longest ago goes first.
        films_bytes: that all held films and their vectors may have together; likewise.
        film_seconds: that an unused film is held.
    """

    upload_bytes: int = Field(default=64 << 20, ge=1)
    uploads: int = Field(default=8, ge=1)
    decoders: int = Field(default=2, ge=1)
    request_bytes: int = Field(default=256 << 10, ge=1)
    pixels: int = Field(default=40_000_000, ge=1)
    decode_seconds: float = Field(default=20.0, gt=0)
    decode_bytes: int = Field(default=3 << 30, ge=1 << 28)
    receive_seconds: float = Field(default=60.0, gt=0)
    films: int = Field(default=512, ge=1)
    films_bytes: int = Field(default=1 << 30, ge=1)
    film_seconds: float = Field(default=1800.0, gt=0)


class UploadError(CrossRayError):
    """An upload cannot be read as a film. ``stage`` says where it was refused."""

    def __init__(self, stage: Stage, problem: str) -> None:
        super().__init__(problem)
        self.stage: Stage = stage
