"""Resampling along one axis as a sparse matrix, so that films, masks and heat maps share one pixel convention.

Pixel ``i`` covers ``[i, i + 1)`` and its value stands at its centre ``i + 0.5``. A two-dimensional resampling is
one matrix for the rows and one for the columns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


def resample(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """``[h, w]`` uint8 pixels as ``[height, width]``: area average where an axis shrinks, bilinear where it grows."""
    if pixels.shape == (height, width):
        return pixels.copy()
    down = resize_weights(pixels.shape[0], height)
    across = resize_weights(pixels.shape[1], width)
    resized = (across @ (down @ pixels.astype(np.float32)).T).T
    rounded: NDArray[np.uint8] = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(rounded)


def resize_weights(size: int, new_size: int) -> csr_array:
    """``[new_size, size]`` weights, rows summing to 1: area average when shrinking, bilinear when growing."""
    if new_size >= size:
        return sampling_weights(_centres(new_size) * size / new_size, size)
    edges = np.arange(new_size + 1) * (size / new_size)
    first = np.floor(edges[:-1]).astype(np.int64)
    taps = int(np.ceil(size / new_size)) + 1
    columns = first[:, None] + np.arange(taps)
    covered = np.minimum(columns + 1, edges[1:, None]) - np.maximum(columns, edges[:-1, None])
    weights = np.clip(covered, 0.0, None) * (columns < size)
    weights /= weights.sum(axis=1, keepdims=True)
    return _sparse(weights, np.minimum(columns, size - 1), size)


def sampling_weights(positions: NDArray[np.float64], size: int) -> csr_array:
    """``[len(positions), size]`` weights that read values at continuous positions, bilinear, borders continued."""
    place = np.clip(positions - 0.5, 0.0, size - 1.0)
    lower = np.minimum(np.floor(place).astype(np.int64), max(size - 2, 0))
    upper = np.minimum(lower + 1, size - 1)
    fraction = place - lower
    return _sparse(np.stack([1.0 - fraction, fraction], axis=1), np.stack([lower, upper], axis=1), size)


def nearest_indices(size: int, new_size: int) -> NDArray[np.int64]:
    """``[new_size]``: for each new pixel the old one under its centre."""
    indices: NDArray[np.int64] = np.floor(_centres(new_size) * size / new_size).astype(np.int64)
    return indices


def _centres(size: int) -> NDArray[np.float64]:
    centres: NDArray[np.float64] = np.arange(size, dtype=np.float64) + 0.5
    return centres


def _sparse(weights: NDArray[np.float64], columns: NDArray[np.int64], size: int) -> csr_array:
    count, taps = weights.shape
    row_starts = np.arange(0, count * taps + 1, taps)
    matrix = csr_array((weights.ravel().astype(np.float32), columns.ravel(), row_starts), shape=(count, size))
    matrix.sum_duplicates()
    return matrix
