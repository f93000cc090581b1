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
from crossray.data.store_schema import FILM_SCHEMA
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
    def of(cls, mapped: pa.Buffer, batches: Sequence[pa.RecordBatch], size: int, path: Path) -> FilmShard:
        """The shard whose record batches lie in a mapped file.

        Raises:
            StoreError: a film is not ``size`` pixels wide and high, or its view is none that there is.
        """
        table = pa.Table.from_batches(batches, schema=FILM_SCHEMA)
        return cls(
            mapped,
            table.column("study_row").to_numpy(),
            view_numbers(table.column("view"), path),
            np.array([len(batch) for batch in batches], dtype=np.int64),
            np.array([_pixel_offset(mapped, batch, size, path) for batch in batches], dtype=np.int64),
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


def _pixel_offset(mapped: pa.Buffer, batch: pa.RecordBatch, size: int, path: Path) -> int:
    # Every film has the same length and none is null: the binary column's data is one contiguous uint8 array.
    column = batch.column("pixels")
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    if column.null_count or (np.diff(ends) != size * size).any():
        raise StoreError(f"holds a film that is not {size} x {size} pixels.", file=path, remedy=PREPARE_AGAIN)
    offset = int(data.address) + int(ends[0]) - mapped.address if len(column) else 0
    if not 0 <= offset <= mapped.size - len(column) * size * size:
        raise StoreError("holds films whose pixels do not lie in the file.", file=path, remedy=PREPARE_AGAIN)
    return offset


def _starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)[:-1]
