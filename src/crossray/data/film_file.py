"""A film's file as a store would hold it: for one film that belongs to no store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.geometry import FilmGeometry, prepare_film
from crossray.data.images import FilmPixels


def read_prepared(path: Path, prepared_size: int) -> tuple[NDArray[np.uint8], FilmGeometry]:
    """The prepared film ``[S, S]`` uint8, and how its pixels map to those of the file.

    Raises:
        StudyError: the file cannot be read as a film (see :class:`FilmPixels`).
    """
    return prepare_film(FilmPixels(path).read(), prepared_size)
