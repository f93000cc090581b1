"""Making an index: embed what it does not hold yet, keep the rest, and put new files in place at once.

Each film is known by a digest of its pixels and each report by one of what the model reads of it. A study whose digests
an earlier index of the same weights holds is not embedded again, so that a store that has grown costs what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

import crossray
from crossray.data.store import Store
from crossray.data.text import select_text
from crossray.data.verify import open_whole
from crossray.errors import ConfigError, DataError
from crossray.files import sha256_of
from crossray.inference.embed import unit
from crossray.inference.joint_model import JointModel, Progress
from crossray.inference.run_files import checkpoint_file, stream_settings
from crossray.inference.search.index import SIDES, FloatArray, SearchIndex, Side, file_of, read_vectors
from crossray.inference.search.manifest import (
    INDEX_FORMAT_VERSION,
    MANIFEST_FILE,
    IndexManifest,
    Kind,
    is_of_index,
)
from crossray.inference.search.write import Vectors, write_index
from crossray.ownership import owned
from crossray.versions import now

EXACT_UNTIL = 2_000_000
"""Vectors up to which ``auto`` compares all of them: a tenth of a second a query at 256 numbers each."""

_CHUNK = 512


@dataclass(frozen=True)
class BuildSummary:
    """An index that was built, and how many of its vectors had to be made."""

    manifest: IndexManifest
    embedded: dict[str, int]


def build_index(
    run: Path,
    store: Path | str,
    out: Path,
    *,
    checkpoint: str = "best",
    kind: Kind | Literal["auto"] = "auto",
    batch_size: int = 32,
    progress: Progress | None = None,
) -> BuildSummary:
    """Embed every film and report of a store and write an index of them to ``out``.

    Args:
        run: whose model embeds.
        store: its studies; a folder or URL.
        out: a new folder, or the folder of an earlier index, which is then brought up to date.
        checkpoint: which weights of the run.
        kind: ``exact`` compares everything, ``ivf`` and ``hnsw`` are approximate; ``auto`` is exact up to
            ``EXACT_UNTIL`` vectors and ``ivf`` beyond.
        batch_size: films embedded at once.
        progress: told how many films are done, of how many.

    Raises:
        CheckpointError, StoreError: the run or the store cannot be used.
        DataError: ``out`` holds other things than an index.
        FolderInUseError, FolderTakenError: another process builds an index there.
    """
    _check_place(out)
    with owned(out, kind=DataError):
        return _build(run, store, out, checkpoint, kind, batch_size, progress)


def _build(
    run: Path,
    store: Path | str,
    out: Path,
    checkpoint: str,
    kind: Kind | Literal["auto"],
    batch_size: int,
    progress: Progress | None,
) -> BuildSummary:
    opened, model = open_whole(store, stream_settings(run)), JointModel.load(run, checkpoint)
    weights = sha256_of(checkpoint_file(Path(run), checkpoint))
    sides = _Maker(opened, model, _Earlier.of(out, weights), batch_size).sides(progress)
    counts = {name: len(side.matrix) for name, side in sides.items()}
    manifest = IndexManifest(
        format_version=INDEX_FORMAT_VERSION,
        run=str(run),
        method=model.method.name,
        weights=weights,
        checkpoint=checkpoint,
        store=str(store),
        store_hash=opened.hash,
        prepared_size=opened.prepared_size,
        films=counts["films"],
        reports=counts.get("reports", 0),
        dimension=sides["films"].matrix.shape[1],
        kind=_kind(kind, max(counts.values())),
        version=crossray.__version__,
        date=now(),
    )
    return BuildSummary(write_index(out, sides, manifest), {name: side.embedded for name, side in sides.items()})


def _kind(wanted: Kind | Literal["auto"], vectors: int) -> Kind:
    if wanted != "auto":
        return wanted
    return "exact" if vectors <= EXACT_UNTIL else "ivf"


@dataclass(frozen=True)
class _Earlier:
    """Vectors of an earlier index of the same weights, by side and digest."""

    vectors: dict[Side, tuple[dict[bytes, int], FloatArray]]

    @classmethod
    def of(cls, folder: Path, weights: str) -> _Earlier:
        if not (folder / MANIFEST_FILE).is_file():
            return cls({})
        try:
            manifest = SearchIndex.open(folder).manifest
        except DataError:
            return cls({})  # damaged, or of another format: it is made anew
        if manifest.weights != weights:
            return cls({})
        found: dict[Side, tuple[dict[bytes, int], FloatArray]] = {}
        for side in SIDES:
            count = manifest.films if side == "films" else manifest.reports
            if count:
                digests = pq.read_table(folder / file_of(manifest, side, ".parquet")).column("digest").to_pylist()
                vectors = read_vectors(folder / file_of(manifest, side, ".faiss"))
                found[side] = ({digest: row for row, digest in enumerate(digests)}, _all_of(vectors))
        return cls(found)

    def of_side(self, side: Side) -> tuple[dict[bytes, int], FloatArray | None]:
        """Row of each digest, and the vectors ``[n, D]``."""
        return self.vectors.get(side, ({}, None))


@dataclass(frozen=True)
class _Maker:
    """Embeds what the earlier index does not hold."""

    store: Store
    model: JointModel
    earlier: _Earlier
    batch_size: int

    def sides(self, progress: Progress | None) -> dict[Side, Vectors]:
        """Films, and reports where the method reads any."""
        films = self.films(progress)
        return {"films": films, "reports": self.reports()} if self.model.method.reads_reports else {"films": films}

    def films(self, progress: Progress | None) -> Vectors:
        """All films of the store, in its order."""
        rows = list(range(self.store.film_count))
        if not rows:
            raise DataError("the store holds no film.", file=self.store.path)

        def digest(row: int) -> bytes:
            return _digest(self.store.pixels([row]).tobytes())

        def embed(chosen: list[int]) -> Tensor:
            return self.model.embed_images(self.store.pixels(chosen), self.batch_size).pooled

        films = [self.store.film(row) for row in rows]
        table: dict[str, list[Any]] = {
            "study_id": [self.store.study_ids[film.study_index] for film in films],
            "film_id": [film.film_id for film in films],
            "view": [film.view for film in films],
        }
        return self._vectors("films", rows, digest, embed, table, progress)

    def reports(self) -> Vectors:
        """The report of each study of which the model reads something."""
        selected = [select_text(self.store.report(study), self.model.text_config) for study in range(len(self.store))]
        studies = [study for study, text in enumerate(selected) if text.text]

        def digest(study: int) -> bytes:
            return _digest(selected[study].text.encode("utf-8"))

        def embed(chosen: list[int]) -> Tensor:
            return self.model.embed_texts([selected[study] for study in chosen], self.batch_size).report

        table: dict[str, list[Any]] = {"study_id": [self.store.study_ids[study] for study in studies]}
        return self._vectors("reports", studies, digest, embed, table, None)

    def _vectors(
        self,
        side: Side,
        items: list[int],
        digest: Callable[[int], bytes],
        embed: Callable[[list[int]], Tensor],
        table: dict[str, list[Any]],
        progress: Progress | None,
    ) -> Vectors:
        """Vectors of ``items``: those that the earlier index holds, and what ``embed`` makes of the others."""
        place, kept = self.earlier.of_side(side)
        digests = [digest(item) for item in items]
        missing = [row for row, own in enumerate(digests) if own not in place]
        held = [row for row, own in enumerate(digests) if own in place]
        pieces = [unit(embed([items[row] for row in chunk]).numpy()) for chunk in _reported(missing, progress)]
        made = np.concatenate(pieces) if pieces else None
        known = made if made is not None else kept
        matrix = np.empty((len(items), 0 if known is None else known.shape[1]), dtype=np.float32)
        if made is not None:
            matrix[missing] = made
        if kept is not None and held:
            matrix[held] = kept[[place[digests[row]] for row in held]]
        return Vectors(matrix, pa.table({**table, "digest": pa.array(digests, pa.binary(16))}), len(missing))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _reported(items: list[int], progress: Progress | None) -> Iterator[list[int]]:
    """Items in pieces; after each, ``progress`` is told."""
    for start in range(0, len(items), _CHUNK):
        piece = items[start : start + _CHUNK]
        yield piece
        if progress is not None:
            progress(start + len(piece), len(items))


def _all_of(vectors: Any) -> FloatArray:
    found: FloatArray = vectors.reconstruct_n(0, vectors.ntotal)
    return found


def _check_place(out: Path) -> None:
    """Refuse a folder that holds other things.

    Raises:
        DataError: it does.
        ConfigError: it is a file.
    """
    if out.is_file():
        raise ConfigError("is a file.", file=out, field="--out", remedy="Choose a folder.")
    strangers = [path for path in out.iterdir() if not is_of_index(path.name)] if out.is_dir() else []
    if strangers:
        raise DataError(
            f"is not empty and holds no index, but '{strangers[0].name}'.", file=out, remedy="Choose a new folder."
        )
