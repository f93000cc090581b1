"""What Arrow's own validation lets pass in a store's table that was made to mislead: compression, nulls."""

from __future__ import annotations

import struct
from pathlib import Path

import pyarrow as pa

from crossray.data.store_manifest import PREPARE_AGAIN
from crossray.errors import StoreError

#: Columns that may be null themselves: a patient may be unknown, and stores of format 1 have no attributes.
_NULLABLE = frozenset(("patient_id", "attributes"))

# Fields of the flatbuffers tables Message and RecordBatch (Arrow's format/Message.fbs), in their order.
_MESSAGE_HEADER, _BATCH_COMPRESSION = 2, 3


def refuse_compressed(table: pa.Buffer, path: Path) -> None:
    """Refuse a table with compressed record batches, before any is inflated: kilobytes may become gigabytes.

    No store is written compressed, since its pixels are read where they lie in the file.

    Raises:
        StoreError: it is compressed.
    """
    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(table))
    for message in iter(lambda: next(reader, None), None):
        if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
            raise StoreError("is compressed, as no table of a store is.", file=path, remedy=PREPARE_AGAIN)


def _is_compressed(metadata: bytes) -> bool:
    message = struct.unpack_from("<I", metadata)[0]
    header = message + _field(metadata, message, _MESSAGE_HEADER)
    batch = header + struct.unpack_from("<I", metadata, header)[0]
    return _field(metadata, batch, _BATCH_COMPRESSION) != 0


def _field(metadata: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffers table lies, from the table's own place on; 0 if it is left out."""
    slots: int = table - struct.unpack_from("<i", metadata, table)[0]
    place = 4 + 2 * number
    found: int = struct.unpack_from("<H", metadata, slots + place)[0]
    return found if place < struct.unpack_from("<H", metadata, slots)[0] else 0


def refuse_nulls(table: pa.Table, path: Path) -> None:
    """Refuse a null, at any depth, in a column that has none.

    Raises:
        StoreError: there is one.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks:
            if _has_null(chunk, itself=name not in _NULLABLE):
                raise StoreError("holds a null.", file=path, field=name, remedy=PREPARE_AGAIN)


def _has_null(array: pa.Array, *, itself: bool = True) -> bool:
    if itself and array.null_count:
        return True
    if pa.types.is_list(array.type):
        return _has_null(array.flatten())
    return pa.types.is_struct(array.type) and any(_has_null(part) for part in array.flatten())
