"""Recall at K by sorting the whole score matrix, as published retrieval code does (`joimternet` spec, section 5.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def argsort_ranks(
    films: NDArray[np.floating], reports: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank (1 = best) of each film's own report and of each report's own film, ``[N]`` each."""
    scores = films @ reports.T
    return _own_places(scores), _own_places(scores.T)


def _own_places(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    order = np.argsort(-scores, axis=1)
    places: NDArray[np.int64] = np.argmax(order == np.arange(len(scores))[:, None], axis=1).astype(np.int64)
    return places + 1


def recalls(ranks: NDArray[np.int64], ks: tuple[int, ...] = (1, 5, 10)) -> list[float]:
    return [float((ranks <= k).mean()) for k in ks]
