"""The ten nearest of a million vectors: CrossRay's search over bare faiss, both loaded; and what is approximate.

A query goes in as a vector: embedding its words is the model's time. Opening (every byte is hashed) is stated.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from benchmarks.speed.harness import Measured, Options, interleaved, ratio_row, seconds_of

from crossray.inference.search.index import SearchIndex, file_of, read_vectors
from crossray.inference.search.manifest import INDEX_FORMAT_VERSION, IndexManifest, Kind
from crossray.inference.search.write import Vectors, write_index

_WIDTH, _K = 256, 10


def measure(options: Options) -> list[Measured]:
    import faiss

    faiss.omp_set_num_threads(options.threads)
    count, queries = options.pick(1_000_000, 2_000), options.pick(16, 2)
    vectors, asked = _vectors(count, queries)
    with tempfile.TemporaryDirectory() as place:
        exact = _index(Path(place) / "exact", vectors, "exact")
        start = time.perf_counter()
        opened = SearchIndex.open(exact)
        opened.search(asked[:1], _K)
        opening = time.perf_counter() - start
        bare = read_vectors(exact / file_of(opened.manifest, "films", ".faiss"))
        one = asked[:1]
        sides = {"crossray": partial(opened.search, one, _K), "faiss": partial(bare.search, one, _K)}
        seconds = interleaved(sides, options.rounds, warm_ups=2)
        detail = (
            f"one query: {seconds_of(seconds)}; opening with the hash of every byte, and a first query {opening:.3g} s"
        )
        rows = [ratio_row("search_exact", seconds["crossray"], seconds["faiss"], detail=detail)]
        approximate = SearchIndex.open(_index(Path(place) / "ivf", vectors, "ivf"))
        rows.append(_approximate(opened, approximate, asked, options))
    return rows


def _vectors(count: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in clusters, as embeddings of like films are, and queries near some of them."""
    draws = np.random.default_rng(0)
    centres = draws.standard_normal((max(count // 500, 4), _WIDTH), dtype=np.float32)
    vectors = centres[draws.integers(0, len(centres), count)]
    vectors += draws.standard_normal(vectors.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = vectors[draws.choice(count, queries, replace=False)]
    asked = asked + 0.05 * draws.standard_normal(asked.shape, dtype=np.float32)
    return vectors, asked


def _index(folder: Path, vectors: np.ndarray, kind: Kind) -> Path:
    names = [f"s{row:07d}" for row in range(len(vectors))]
    table = pa.table({"study_id": names, "film_id": names, "view": ["frontal"] * len(names)})
    manifest = IndexManifest(
        format_version=INDEX_FORMAT_VERSION,
        run="none",
        method="convirt",
        weights="none",
        checkpoint="best",
        store="none",
        store_hash="none",
        prepared_size=256,
        films=len(vectors),
        reports=0,
        dimension=vectors.shape[1],
        kind=kind,
        version="bench",
        date="none",
    )
    write_index(folder, {"films": Vectors(vectors, table, len(vectors))}, manifest)
    return folder


def _approximate(exact: SearchIndex, approximate: SearchIndex, asked: np.ndarray, options: Options) -> Measured:
    """Speed at the index's own number of lists, and recall and time at others."""
    _, wanted = exact.nearest(asked, _K)
    inner: Any = approximate._films
    standard, curve = inner.nprobe, []
    for lists in sorted({1, 4, 16, 64, standard}):
        inner.nprobe = lists
        start = time.perf_counter()
        _, found = approximate.nearest(asked, _K)
        each = 1000 * (time.perf_counter() - start) / len(asked)
        hits = np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, wanted, strict=True)])
        curve.append(f"{lists} lists: {hits:.3f}, {each:.3g} ms a query")
    inner.nprobe = standard
    one = asked[:1]
    seconds = interleaved(
        {"exact": partial(exact.search, one, _K), "ivf": partial(approximate.search, one, _K)}, options.rounds
    )
    detail = f"{seconds_of(seconds)}, {standard} of {inner.nlist} lists; recall of the ten: {'; '.join(curve)}"
    return ratio_row("search_ivf", seconds["exact"], seconds["ivf"], detail=detail)
