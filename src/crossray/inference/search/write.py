"""Putting an index on the disk: faiss files of vectors, tables of whose they are, and the manifest last."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossray.errors import DataError
from crossray.files import FileEntry, check_fences, explained_disk_errors, whole_file, write_sealed_json
from crossray.inference.search.index import FloatArray, Side
from crossray.inference.search.manifest import MANIFEST_FILE, IndexManifest, Kind

_HNSW_NEIGHBOURS = 32
_LISTS_PER_ROOT = 4  # IVF: lists = 4 sqrt(n), of which every sixteenth is searched
_LISTS_SEARCHED = 16
_VECTORS_A_LIST = 40  # at least, for faiss to train on


@dataclass(frozen=True)
class Vectors:
    """One side of an index: vectors ``[n, D]`` of length 1 and a table of as many rows with their digests."""

    matrix: FloatArray
    table: pa.Table
    embedded: int


def write_index(out: Path, sides: dict[Side, Vectors], manifest: IndexManifest) -> IndexManifest:
    """Files under names of their content, then the manifest, which makes them the index, then the old ones go.

    Whoever has the earlier index open keeps reading it; a kill at any moment leaves the earlier one or the new one.

    Returns:
        The manifest with its files.
    """
    with explained_disk_errors(DataError, out):
        out.mkdir(parents=True, exist_ok=True)
        files: dict[str, FileEntry] = {}
        for side, vectors in sides.items():
            if len(vectors.matrix):
                files |= _place(out, side, ".faiss", _faiss_bytes(vectors.matrix, manifest.kind))
                files |= _place(out, side, ".parquet", _parquet_bytes(vectors.table))
        finished = manifest.model_copy(update={"files": files})
        write_sealed_json(out / MANIFEST_FILE, finished.model_dump(mode="json"))
        for path in out.iterdir():
            if path.name not in files and path.suffix in (".faiss", ".parquet"):
                check_fences(path)
                path.unlink()
    return finished


def _place(out: Path, side: Side, ending: str, content: bytes) -> dict[str, FileEntry]:
    digest = hashlib.sha256(content).hexdigest()
    name = f"{side}-{digest[:12]}{ending}"
    with whole_file(out / name) as file:
        file.write(content)
    return {name: FileEntry(digest, len(content))}


def _faiss_bytes(vectors: FloatArray, kind: Kind) -> bytes:
    import faiss

    count, width = vectors.shape
    index: Any
    if kind == "exact":
        index = faiss.IndexFlatIP(width)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, _HNSW_NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    else:
        lists = max(1, min(count // _VECTORS_A_LIST, round(_LISTS_PER_ROOT * count**0.5)))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = 0
        index.train(vectors)
        index.nprobe = max(1, lists // _LISTS_SEARCHED)
        index.make_direct_map()
    index.add(vectors)
    return bytes(faiss.serialize_index(index))


def _parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())
