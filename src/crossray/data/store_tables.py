"""The Arrow files of a store, mapped into memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from crossray.data.store_manifest import PREPARE_AGAIN, StoreManifest
from crossray.data.store_values import refuse_compressed, refuse_nulls
from crossray.errors import StoreError

Table = tuple[pa.Buffer, pa.Table]
"""A mapped file, and the table in it: a chunk of each column for each record batch."""


def read_table(folder: Path, name: str, schema: pa.Schema, manifest: StoreManifest, every_value: bool = False) -> Table:
    """A table of a store: its mapped file, and what is in it.

    Args:
        every_value: whether each offset and text is checked, and that nothing is compressed or null.

    Raises:
        StoreError: it has another size than was written, other columns, or is no table.
    """
    path = folder / name
    entry = manifest.files.get(name)
    size = path.stat().st_size if path.is_file() else None
    if entry is None or size != entry.bytes:
        found = "is missing" if size is None else f"has {size} bytes"
        expected = "" if entry is None else f", {entry.bytes} were written"
        raise StoreError(f"{found}{expected}: the store is not whole.", file=path, remedy=PREPARE_AGAIN)
    with altered(path):
        with pa.memory_map(str(path)) as source:
            mapped = source.read_buffer()
        if every_value:
            refuse_compressed(mapped, path)
        with pa.ipc.open_stream(pa.BufferReader(mapped)) as reader:
            table = reader.read_all()  # batch by batch each would become objects of Python: 15 kB for 64 films
        table.validate(full=every_value)
    if not reader.schema.equals(schema):
        raise StoreError("has other columns than a store's table.", file=path, remedy=PREPARE_AGAIN)
    if every_value:
        refuse_nulls(table, path)
    return mapped, table


@contextmanager
def altered(place: Path) -> Iterator[None]:
    """Whatever Arrow and numpy raise on tables that are not those that were written, as one error."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, IndexError, TypeError, struct.error) as error:
        raise StoreError(f"was altered: {error}", file=place, remedy=PREPARE_AGAIN) from error
