"""``films-*.index`` of a store: all of a films table but its pixels, and where in the table each block of them lies.

With it a store can be read over a network: what is known of films comes as one small file a shard, pixels by range. An
Arrow IPC stream like the table, with the same record batches; offset and sha256 of each batch's pixels are JSON in the
metadata of its schema.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossray.data.film_table import FilmShard, chunk_lengths, view_numbers
from crossray.data.store_manifest import PREPARE_AGAIN
from crossray.data.store_schema import FILM_SCHEMA
from crossray.errors import StoreError
from crossray.files import FileEntry, whole_file

INDEX_SCHEMA = FILM_SCHEMA.remove(FILM_SCHEMA.get_field_index("pixels"))
_BLOCKS = b"blocks"


@dataclass(frozen=True)
class Block:
    """A run of films that lie together: ``length`` bytes from ``offset`` on in a file of the store."""

    file: str
    offset: int
    length: int
    sha256: str


def film_index_name(shard: int) -> str:
    """File name of a shard's index; not ``.arrow``, so that the store's hash stays that of its tables."""
    return f"films-{shard:05d}.index"


def write_film_index(path: Path, table: pa.Table, films: FilmShard, size: int) -> FileEntry:
    """Write the index of a films table that was read; equal tables give equal bytes."""
    offsets = films.block_offsets.tolist()
    spans = zip(offsets, (films.block_lengths * size**2).tolist(), strict=True)
    mapped = memoryview(films.mapped)
    hashes = [hashlib.sha256(mapped[offset : offset + length]).hexdigest() for offset, length in spans]
    blocks = json.dumps({"offsets": offsets, "sha256": hashes})
    schema = INDEX_SCHEMA.with_metadata({_BLOCKS: blocks})
    with whole_file(path) as file, pa.ipc.new_stream(file, schema) as writer:
        for chunks in zip(*(table.column(name).chunks for name in INDEX_SCHEMA.names), strict=True):
            writer.write_batch(pa.RecordBatch.from_arrays(list(chunks), schema=schema))
    return FileEntry.of(path)


def indexed_shard(
    mapped: pa.Buffer, index: pa.Table, size: int, table: str, path: Path
) -> tuple[FilmShard, list[Block]]:
    """A shard's films and blocks from its index.

    Args:
        mapped, index: the index, read.
        size: side of a film.
        table: file name of the films table that it is the index of.
        path: of the index, for messages.

    Raises:
        StoreError: it does not say of every record batch where its pixels lie.
    """
    lengths = chunk_lengths(index.column("study_row"))
    said: Any = {"offsets": [], "sha256": []}
    if len(lengths):
        said = json.loads((index.schema.metadata or {}).get(_BLOCKS, b"{}"))
    if not _says_where(said, len(lengths)):
        raise StoreError("does not say where each block of films lies.", file=path, remedy=PREPARE_AGAIN)
    offsets, hashes = said["offsets"], said["sha256"]
    shard = FilmShard(
        mapped,
        index.column("study_row").to_numpy(),
        view_numbers(index.column("view"), path),
        lengths,
        np.array(offsets, dtype=np.int64),
    )
    spans = zip(shard.block_offsets.tolist(), (lengths * size**2).tolist(), hashes, strict=True)
    return shard, [Block(table, offset, length, sha256) for offset, length, sha256 in spans]


def _says_where(said: Any, blocks: int) -> bool:
    """Whether there is an offset and a sha256 of each block; the cache's files are named by the sha256."""
    if not isinstance(said, dict):
        return False
    offsets, hashes = said.get("offsets"), said.get("sha256")
    return (
        isinstance(offsets, list)
        and isinstance(hashes, list)
        and len(offsets) == len(hashes) == blocks
        and all(type(offset) is int and 0 <= offset < 2**63 for offset in offsets)
        and all(isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in hashes)
    )
