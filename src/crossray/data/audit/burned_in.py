"""Suspicion of writing on films: rows or columns of many sharp bright edges, anywhere on the film.

A side mark (one or two letters) has too few edges to count. This is a suspicion by shape, not a reader of letters:
grids, wires and collimator labels can look alike, and small or dark writing is missed. Films prepared at fewer than
200 pixels blur small writing away, from the audit's eyes as from a model's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_EDGE = 70  # grey values between neighbours
_EDGES = 12  # in a row's half: six strokes
_ROWS = 4  # one below the other


def looks_written_on(films: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the films ``[n, S, S]`` have a strip that looks like a line of letters, across or down, ``[n]``."""
    return _has_line(films) | _has_line(films.transpose(0, 2, 1))


def _has_line(films: NDArray[np.uint8]) -> NDArray[np.bool_]:
    edges = np.abs(np.diff(films.astype(np.int16), axis=2)) >= _EDGE
    half = edges.shape[2] // 2
    found = np.zeros(len(films), dtype=bool)
    for start in (0, half // 2, half):
        many = edges[:, :, start : start + half].sum(axis=2) >= _EDGES
        windows: NDArray[np.bool_] = np.lib.stride_tricks.sliding_window_view(many, _ROWS, axis=1)
        found |= np.any(np.all(windows, axis=2), axis=1)
    return found
