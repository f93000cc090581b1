"""The films of a store: arrays of what is asked of all of them, the rest when it is asked, mostly from mapped files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crossray.data.store_manifest import PREPARE_AGAIN
from crossray.data.study import View
from crossray.errors import StoreError

VIEWS: tuple[View, ...] = get_args(View)

#: Shards whose record batches stay at hand. A batch holds 64 films and costs 15 kB of objects, more than its share of
#: an index: for ten million films all of them would take gigabytes.
_SHARDS_AT_HAND = 64


@dataclass(frozen=True)
class FilmShard:
    """One shard's films, in b record batches.

    Attributes:
        mapped: the whole file: the table, or its index where the pixels are elsewhere.
        study_rows: ``[n]`` row of each film's study in the studies table of the same shard.
        views: ``[n]`` place in :data:`VIEWS`.
        block_lengths: ``[b]`` films of each record batch.
        block_offsets: ``[b]`` where in the table's file the pixels of its first film begin.
    """

    mapped: pa.Buffer
    study_rows: NDArray[np.int32]
    views: NDArray[np.int8]
    block_lengths: NDArray[np.int64]
    block_offsets: NDArray[np.int64]

    @classmethod
    def of(cls, mapped: pa.Buffer, table: pa.Table, size: int, path: Path) -> FilmShard:
        """The shard whose table lies in a mapped file.

        Raises:
            StoreError: a film is not ``size`` pixels wide and high, or its view is none that there is.
        """
        return cls(
            mapped,
            table.column("study_row").to_numpy(),
            view_numbers(table.column("view"), path),
            chunk_lengths(table.column("pixels")),
            _pixel_offsets(mapped, table.column("pixels"), size, path),
        )


class PixelReader(Protocol):
    """Where pixels come from if not from the mapped files."""

    def __call__(self, blocks: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """``[n, S * S]`` films, each by its block (of all shards) and its place in that."""
        ...


class FilmTable:
    """The films of all shards, one after another; their pixels from the shards, or from a reader."""

    def __init__(self, shards: Sequence[FilmShard], size: int, reader: PixelReader | None = None) -> None:
        self._size, self._reader = size, reader or self._mapped_pixels
        self._mapped = [shard.mapped for shard in shards]
        self._shard_starts = _starts([len(shard.views) for shard in shards])
        self._block_starts = _starts([length for shard in shards for length in shard.block_lengths.tolist()])
        self._block_offsets = np.concatenate([np.zeros(0, np.int64), *(shard.block_offsets for shard in shards)])
        self.views: NDArray[np.int8] = np.concatenate([np.zeros(0, np.int8), *(shard.views for shard in shards)])
        self._table_of = lru_cache(_SHARDS_AT_HAND)(self._read)

    def __len__(self) -> int:
        return len(self.views)

    def pixels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """``[n, S, S]`` films (a copy)."""
        blocks = self.blocks_of(rows)
        films = self._reader(blocks, rows - self._block_starts[blocks])
        return films.reshape(len(rows), self._size, self._size)

    def blocks_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """``[n]`` number of the record batch, counted over all shards, in which each film lies."""
        return np.searchsorted(self._block_starts, rows, side="right") - 1

    def _mapped_pixels(self, blocks: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.uint8]:
        area = self._size**2
        offsets = self._block_offsets[blocks] + places * area
        shards = self._shards_of(self._block_starts[blocks])
        result = np.empty((len(blocks), area), dtype=np.uint8)
        for film, shard, offset in zip(result, shards.tolist(), offsets.tolist(), strict=True):
            film[:] = np.frombuffer(self._mapped[shard], np.uint8, count=area, offset=offset)
        return result

    def cell(self, row: int, name: str) -> Any:
        """One value of a film, an Arrow scalar."""
        shard = int(self._shards_of(np.array(row)))
        return self._table_of(shard).column(name)[row - int(self._shard_starts[shard])]

    def _shards_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._shard_starts, rows, side="right") - 1

    def _read(self, shard: int) -> pa.Table:
        with pa.ipc.open_stream(pa.BufferReader(self._mapped[shard])) as reader:
            return reader.read_all()


def view_numbers(views: pa.ChunkedArray, path: Path) -> NDArray[np.int8]:
    """``[n]`` place in :data:`VIEWS` of each name.

    Raises:
        StoreError: a name is none of them.
    """
    numbers = pc.index_in(views, value_set=pa.array(VIEWS))
    if numbers.null_count:
        raise StoreError(f"holds a film whose view is none of {', '.join(VIEWS)}.", file=path, remedy=PREPARE_AGAIN)
    found: NDArray[np.int8] = numbers.to_numpy().astype(np.int8)
    return found


def chunk_lengths(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """``[b]`` values in each chunk: films of each record batch."""
    return np.array([len(chunk) for chunk in column.iterchunks()], dtype=np.int64)


def _pixel_offsets(mapped: pa.Buffer, pixels: pa.ChunkedArray, size: int, path: Path) -> NDArray[np.int64]:
    """``[b]`` where in the mapped file the pixels of each record batch begin."""
    # Every film has the same length and none is null: the data of a chunk are one contiguous uint8 array.
    if pixels.null_count or (pc.binary_length(pixels).to_numpy() != size * size).any():
        raise StoreError(f"holds a film that is not {size} x {size} pixels.", file=path, remedy=PREPARE_AGAIN)
    addresses = np.array([_data_address(chunk) for chunk in pixels.iterchunks()], dtype=np.int64)
    offsets: NDArray[np.int64] = addresses - int(mapped.address)
    filled = chunk_lengths(pixels) > 0
    ends = offsets + chunk_lengths(pixels) * size * size
    if (filled & ((offsets < 0) | (ends > mapped.size))).any():
        raise StoreError("holds films whose pixels do not lie in the file.", file=path, remedy=PREPARE_AGAIN)
    return offsets


def _data_address(chunk: pa.BinaryArray) -> int:
    """Where in memory the first value of a chunk begins."""
    if not len(chunk):
        return 0
    _, ends, data = chunk.buffers()
    return int(data.address) + int(np.frombuffer(ends, np.int32, 1, offset=4 * chunk.offset)[0])


def _starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)[:-1]
