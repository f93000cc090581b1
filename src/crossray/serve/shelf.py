"""Films that people look at: in memory only, so many and so long."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from crossray.errors import CrossRayError
from crossray.methods.base import ImageEmbedding
from crossray.serve.limits import Limits


class UnknownFilmError(CrossRayError):
    """The handle names no film that is held (any more)."""


@dataclass
class Film:
    """Pixels ``[height, width]`` uint8, and what each run made of them, by the run's number, which ``lock`` guards."""

    pixels: NDArray[np.uint8]
    used: float
    embeddings: dict[int, ImageEmbedding] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    @property
    def nbytes(self) -> int:
        """Of the pixels and of what was made of them."""
        return self.pixels.nbytes + sum(own.nbytes for own in tuple(self.embeddings.values()))


class FilmShelf:
    """Films within the limits of number and bytes, each forgotten ``limits.film_seconds`` after its last use."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._films: OrderedDict[str, Film] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        with self._lock:
            self._forget()
            return len(self._films)

    def put(self, pixels: NDArray[np.uint8]) -> str:
        """Keep a film; its handle cannot be guessed."""
        handle = secrets.token_urlsafe(16)
        with self._lock:
            self._films[handle] = Film(pixels, self._clock())
            self._forget()
        return handle

    def get(self, handle: str) -> Film:
        """The film of a handle.

        Raises:
            UnknownFilmError: there is none (any more).
        """
        with self._lock:
            self._forget()
            film = self._films.get(handle)
            if film is None:
                raise UnknownFilmError("This film is no longer held.", remedy="Open it again.")
            film.used = self._clock()
            self._films.move_to_end(handle)
            return film

    def drop(self, handle: str) -> None:
        """Forget a film now."""
        with self._lock:
            self._films.pop(handle, None)

    def _forget(self) -> None:
        limits = self._limits
        oldest = self._clock() - limits.film_seconds
        held = sum(film.nbytes for film in self._films.values())
        while self._films:
            handle, film = next(iter(self._films.items()))
            # The newest stays whatever its size: an upload that was accepted can be looked at.
            fits = len(self._films) == 1 or (len(self._films) <= limits.films and held <= limits.films_bytes)
            if film.used >= oldest and fits:
                return
            held -= film.nbytes
            del self._films[handle]
