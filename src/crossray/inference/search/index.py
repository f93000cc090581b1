"""An index: films and reports of a store as vectors of length 1, looked up by cosine, and who they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossray.errors import ConfigError, DataError
from crossray.files import damages_of
from crossray.inference.embed import unit
from crossray.inference.search.manifest import BUILD_AGAIN, IndexManifest, read_manifest

Side = Literal["films", "reports"]
SIDES: tuple[Side, ...] = ("films", "reports")

FloatArray = NDArray[np.float32]

_READING = Lock()


@dataclass(frozen=True)
class Hit:
    """A film or report that was found.

    ``score`` is the cosine of its vector and the query's: an order among candidates, not a probability. A report has
    no ``film_id`` and no ``view``.
    """

    score: float
    study_id: str
    film_id: str | None = None
    view: str | None = None


class SearchIndex:
    """An opened index.

    Args:
        folder: of ``crossray index build``.
        manifest: its ``index.json``.
    """

    def __init__(self, folder: Path, manifest: IndexManifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path | str, *, store_hash: str | None = None, weights: str | None = None) -> SearchIndex:
        """Open an index; every file is hashed once and must be the one that was written.

        Args:
            folder: of the index.
            store_hash: of the store whose studies are to be shown, if there is one.
            weights: sha256 of the checkpoint that embeds the queries.

        Raises:
            DataError: there is no index, a file of it is missing, cut or altered, or it was made from another store.
            ConfigError: it was made with other weights.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        for damage in damages_of(folder, manifest.files):
            raise DataError(damage.problem, file=damage.file, remedy=BUILD_AGAIN)
        if store_hash is not None and store_hash != manifest.store_hash:
            raise DataError(
                f"was made from a store of hash {manifest.store_hash[:12]}, this one has {store_hash[:12]}.",
                file=folder,
                remedy="Build it again with the same --out: only what has changed is embedded.",
            )
        if weights is not None and weights != manifest.weights:
            raise ConfigError(
                f"was made with weights {manifest.weights[:12]} of {manifest.run}, not with {weights[:12]}.",
                file=folder,
                remedy="Search with that run, or build the index again.",
            )
        return cls(folder, manifest)

    def search(self, queries: FloatArray, k: int = 10, side: Side = "films") -> list[list[Hit]]:
        """The ``k`` nearest of each query, best first.

        Args:
            queries: ``[Q, D]`` in the joint space of the index's run, of any length.
            k: how many; fewer are returned where there are fewer.
            side: ``films`` or ``reports``.

        Raises:
            ConfigError: queries of another width or not finite, no ``k``, or no vectors of that side.
        """
        scores, rows = self.nearest(queries, k, side)
        table = self._table(side)
        return [
            [_hit(float(score), table, int(row)) for score, row in zip(*found, strict=True) if row >= 0]
            for found in zip(scores, rows, strict=True)
        ]

    def nearest(self, queries: FloatArray, k: int, side: Side = "films") -> tuple[FloatArray, NDArray[np.int64]]:
        """Cosines ``[Q, k]`` and rows of the side's table ``[Q, k]``; row -1 where an approximate index finds fewer."""
        count = self.manifest.films if side == "films" else self.manifest.reports
        if count < 1:
            raise ConfigError(f"the index holds no {side}.", file=self.folder)
        if k < 1:
            raise ConfigError(f"{k} hits were asked for.", field="k", remedy="Ask for at least one.")
        wanted = np.ascontiguousarray(queries, dtype=np.float32)
        if wanted.ndim != 2 or wanted.shape[1] != self.manifest.dimension or not np.isfinite(wanted).all():
            raise ConfigError(
                f"queries must be finite and [Q, {self.manifest.dimension}], got {list(wanted.shape)}.",
                remedy="Embed them with the run that the index was made with.",
            )
        scores, rows = self._vectors(side).search(unit(wanted), min(k, count))
        return scores, rows

    def row_of_film(self, row: int) -> dict[str, Any]:
        """What is known of a film by its row: ``study_id``, ``film_id``, ``view``."""
        found: dict[str, Any] = self._table("films").slice(row, 1).to_pylist()[0]
        return found

    def _vectors(self, side: Side) -> Any:
        return self._films if side == "films" else self._reports

    @cached_property
    def _films(self) -> Any:
        return self._read_vectors("films")

    @cached_property
    def _reports(self) -> Any:
        return self._read_vectors("reports")

    def _read_vectors(self, side: Side) -> Any:
        path = self.folder / file_of(self.manifest, side, ".faiss")
        vectors, rows = read_vectors(path), len(self._table(side))
        if (vectors.ntotal, vectors.d) != (rows, self.manifest.dimension):
            held = f"{vectors.ntotal} vectors of width {vectors.d}"
            raise DataError(
                f"holds {held}, not {rows} of width {self.manifest.dimension}.", file=path, remedy=BUILD_AGAIN
            )
        return vectors

    def _table(self, side: Side) -> pa.Table:
        return self._film_table if side == "films" else self._report_table

    @cached_property
    def _film_table(self) -> pa.Table:
        return read_rows(self.folder / file_of(self.manifest, "films", ".parquet"))

    @cached_property
    def _report_table(self) -> pa.Table:
        return read_rows(self.folder / file_of(self.manifest, "reports", ".parquet"))


def file_of(manifest: IndexManifest, side: Side, ending: str) -> str:
    """Name of a side's file: names hold the content's hash, so that a new one never overwrites one in use.

    Raises:
        DataError: the manifest names none.
    """
    for name in manifest.files:
        if name.startswith(f"{side}-") and name.endswith(ending):
            return name
    raise DataError(f"the index names no {ending} file of its {side}.", remedy=BUILD_AGAIN)


def read_vectors(path: Path) -> Any:
    """A faiss index; its bytes have been compared with the manifest.

    Raises:
        DataError: they are no index.
    """
    try:
        with _no_more_than(path.stat().st_size) as faiss:
            return faiss.read_index(str(path))
    except (RuntimeError, MemoryError, OSError) as error:
        raise DataError("holds no vectors that can be read.", file=path, remedy=BUILD_AGAIN) from error


@contextmanager
def _no_more_than(size: int) -> Iterator[Any]:
    """faiss, which fills the memory that a file claims before it reads; newer ones can be told how much it may be."""
    import faiss  # takes its time to import, and few commands search

    if not hasattr(faiss, "set_deserialization_vector_byte_limit"):
        yield faiss
        return
    with _READING:  # the limit is the whole process's
        before = faiss.get_deserialization_vector_byte_limit()
        faiss.set_deserialization_vector_byte_limit(size)
        try:
            yield faiss
        finally:
            faiss.set_deserialization_vector_byte_limit(before)


def read_rows(path: Path) -> pa.Table:
    """Whose the vectors are; the bytes have been compared with the manifest.

    Raises:
        DataError: they are no table.
    """
    try:
        table = pq.read_table(path)
        table.validate(full=True)
        columns = table.column_names  # names that are no UTF-8 raise only here
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"is no table ({error}).", file=path, remedy=BUILD_AGAIN) from error
    if "study_id" not in columns:
        raise DataError("does not say whose the vectors are.", file=path, field="study_id", remedy=BUILD_AGAIN)
    return table


def _hit(score: float, table: pa.Table, row: int) -> Hit:
    cells = table.slice(row, 1).to_pylist()[0]
    return Hit(score, cells["study_id"], cells.get("film_id"), cells.get("view"))
