"""Writing one shard of a store: whole files only, films in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from crossray.files import FileEntry, whole_file

#: Films that one Arrow record batch holds: bounds memory (64 films of 512 x 512 are 16 MB) and the 2 GB of a column.
FILMS_PER_BLOCK = 64


def write_table(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]], block: int | None = None) -> FileEntry:
    """Write rows as an Arrow IPC stream, in record batches of ``block`` rows (all in one without it).

    Equal rows give equal bytes. The file appears under its name only when it is complete and on the disk.

    Returns:
        Its size and sha256.
    """
    with whole_file(path) as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in _blocks(iter(rows), block):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
    return FileEntry.of(path)


def _blocks(rows: Iterator[dict[str, Any]], block: int | None) -> Iterator[list[dict[str, Any]]]:
    if block is None:
        yield list(rows)  # also when empty: readers count on exactly one batch
        return
    while batch := list(islice(rows, block)):
        yield batch
