"""Near-duplicate films by a perceptual hash: signs of low DCT frequencies, compared by Hamming distance.

The hash is pHash (Zauner 2010) with 256 bits instead of 64, since chest films resemble each other far more than
photographs do. Brightness, contrast, compression and rescaling leave it nearly unchanged; shifts and turns do not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from crossray.data.store import Store

HASH_BITS = 256

#: Films at most this many bits apart count as near copies. docs/audit.md has the measured distances behind it:
#: re-compressed, rescaled or brightened copies of phantom films on one side, films of different studies on the other.
NEAR_BITS = 20

_SIDE = 64
_FREQUENCIES = 16
_BLOCK = 1024


def perceptual_hashes(films: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Bits ``[n, 256]`` of films ``[n, S, S]``: whether each low frequency lies above the film's median of them."""
    size = (_SIDE, _SIDE)
    small = np.stack([np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BOX)) for film in films])
    low = dctn(small.astype(np.float32), axes=(1, 2), norm="ortho")[:, 1 : _FREQUENCIES + 1, 1 : _FREQUENCIES + 1]
    flat = low.reshape(len(films), HASH_BITS)
    return np.asarray(flat > np.median(flat, axis=1, keepdims=True))


def hashes_of(store: Store) -> NDArray[np.bool_]:
    """Bits ``[films, 256]`` of every film of a store, a block in memory at a time."""
    rows = np.arange(store.film_count)
    parts = [perceptual_hashes(store.pixels(rows[start : start + 256])) for start in range(0, len(rows), 256)]
    return np.concatenate(parts) if parts else np.zeros((0, HASH_BITS), dtype=bool)


def hamming_distances(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Differing bits ``[n, m]`` of hashes ``[n, bits]`` and ``[m, bits]``, as one product of matrices."""
    signs, others = (np.where(bits, np.float32(1), np.float32(-1)) for bits in (left, right))
    return np.asarray((left.shape[1] - signs @ others.T) / 2, dtype=np.int32)


def near_pairs(hashes: NDArray[np.bool_], most_bits: int = NEAR_BITS) -> Iterator[tuple[int, int, int]]:
    """Rows ``i < j`` whose hashes differ in at most ``most_bits``, and in how many; exact, by blocks of both sides."""
    for first in range(0, len(hashes), _BLOCK):
        for second in range(first, len(hashes), _BLOCK):
            distances = hamming_distances(hashes[first : first + _BLOCK], hashes[second : second + _BLOCK])
            left, right = np.nonzero(distances <= most_bits)
            ordered = left + first < right + second
            for i, j in zip(left[ordered].tolist(), right[ordered].tolist(), strict=True):
                yield i + first, j + second, int(distances[i, j])
