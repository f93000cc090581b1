"""Near-duplicate films by a perceptual hash: signs of low DCT frequencies, compared by Hamming distance.

The hash is pHash (Zauner 2010) with 256 bits instead of 64, since chest films resemble each other far more than
photographs do. Brightness, contrast, compression and rescaling leave it nearly unchanged; shifts and turns do not.
Mirrored films, films upside down and negatives are found too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

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
    return np.asarray((left.shape[1] - _signs(left) @ _signs(right).T) / 2, dtype=np.int32)


def copy_distances(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Differing bits ``[n, m]`` of hashes ``[n, 256]`` and ``[m, 256]``, the least over how a copy may lie.

    A film that is mirrored, upside down or both changes the sign of the frequencies that are odd across it, and one
    whose black and white are exchanged that of all: its hash follows from the other's, so no second one is needed.
    """
    parity = np.arange(1, _FREQUENCIES + 1) % 2  # the first frequency is left out of a hash
    rows, columns = (axis.ravel() for axis in np.meshgrid(parity, parity, indexing="ij"))
    agreement = {}
    for parities in product((0, 1), repeat=2):  # down and across
        here = (rows == parities[0]) & (columns == parities[1])
        agreement[parities] = _signs(left[:, here]) @ _signs(right[:, here]).T
    most = np.zeros((len(left), len(right)), np.float32)
    for down, across in product((1, -1), repeat=2):
        kept = agreement[0, 0] + across * agreement[0, 1] + down * agreement[1, 0] + down * across * agreement[1, 1]
        np.maximum(most, np.abs(kept), out=most)
    return np.asarray((HASH_BITS - most) / 2, dtype=np.int32)


def _signs(bits: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(bits, np.float32(1), np.float32(-1))


def near_pairs(hashes: NDArray[np.bool_], most_bits: int = NEAR_BITS) -> Iterator[tuple[int, int, int]]:
    """Rows ``i < j`` whose hashes differ in at most ``most_bits`` however a copy may lie, and in how many; exact, by
    blocks of both sides."""
    for first in range(0, len(hashes), _BLOCK):
        for second in range(first, len(hashes), _BLOCK):
            distances = copy_distances(hashes[first : first + _BLOCK], hashes[second : second + _BLOCK])
            left, right = np.nonzero(distances <= most_bits)
            ordered = left + first < right + second
            for i, j in zip(left[ordered].tolist(), right[ordered].tolist(), strict=True):
                yield i + first, j + second, int(distances[i, j])
