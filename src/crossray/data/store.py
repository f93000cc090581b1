"""A prepared store, opened memory-mapped or at a URL: studies, reports, labels, films, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crossray.data.film_table import VIEWS, FilmShard, FilmTable
from crossray.data.geometry import FilmGeometry
from crossray.data.store_manifest import StoreManifest, read_manifest
from crossray.data.store_schema import (
    FILM_SCHEMA,
    GEOMETRY_FIELDS,
    STUDY_SCHEMA,
    attributes_of,
    boxes_of,
    mask_from_png,
    phrase_regions_of,
    report_of,
    study_schema,
    with_every_column,
)
from crossray.data.store_tables import altered, read_table
from crossray.data.streaming.film_index import INDEX_SCHEMA, Block, film_index_name, indexed_shard
from crossray.data.streaming.kept_stores import hold
from crossray.data.streaming.mirror import origin_of, store_folder, table_bytes
from crossray.data.streaming.settings import StreamSettings
from crossray.data.streaming.streamed_pixels import StreamedPixels
from crossray.data.study import Box, PhraseRegion, Report, View
from crossray.data.text_column import TextColumn
from crossray.errors import DataError


@dataclass(frozen=True)
class PreparedFilm:
    """What is known of a prepared film besides its pixels; boxes are in pixels of the original film."""

    film_id: str
    study_index: int
    view: View
    geometry: FilmGeometry
    boxes: tuple[Box, ...]
    mask_names: tuple[str, ...]


class Store:
    """A prepared data set. Open it with :meth:`open`; it may be pickled to worker processes.

    Attributes:
        path: its folder; of a store at a URL, that of its mirror.
        manifest: what it was made from.
        streamed: where its films come from if it is at a URL.
        study_ids, patient_ids: one a study, in store order; a patient id is ``None`` where unknown.
    """

    def __init__(
        self,
        path: Path,
        manifest: StoreManifest,
        studies: list[pa.Table],
        films: list[FilmShard],
        streamed: StreamedPixels | None = None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.streamed = streamed
        self._studies = pa.concat_tables([STUDY_SCHEMA.empty_table(), *studies])
        self._films = FilmTable(films, manifest.prepared_size, streamed)
        self.study_ids: TextColumn[str] = TextColumn(self._studies.column("study_id"))
        self.patient_ids: TextColumn[str | None] = TextColumn(self._studies.column("patient_id"))
        _check_labels(self._studies.column("labels"), len(manifest.label_names))
        self._first_film = _first_films(studies, films)

    @classmethod
    def open(cls, place: Path | str, *, every_value: bool = False, streaming: StreamSettings | None = None) -> Store:
        """Open a store; tables stay on the disk and are mapped into memory.

        Args:
            place: its folder, or a URL. Of a store at a URL all but the films is fetched now, films when they are asked
                for; each is checked against its sha256 as it comes.
            every_value: whether each offset and each text is checked, and that nothing is compressed or null, which
                reads all but the pixels. Without it a table that was made to mislead can end the process: Arrow
                believes what it maps.
            streaming: how a store at a URL is read.

        Raises:
            StoreError: the store is missing, half-written, of another version, or a table was cut or altered; a file
                at a URL cannot be fetched.
            ConfigError: the URL cannot be read with what is installed.
        """
        folder = store_folder(place, streaming)
        origin = origin_of(folder, streaming)
        manifest = read_manifest(folder)
        if origin is not None:
            hold(folder, table_bytes(manifest))
        studies: list[pa.Table] = []
        films: list[FilmShard] = []
        blocks: list[Block] = []
        with altered(folder):
            for shard in range(manifest.shards):
                name, schema = study_table_name(shard), study_schema(manifest.format_version)
                studies.append(with_every_column(read_table(folder, name, schema, manifest, every_value)[1]))
                name = film_table_name(shard)
                if origin is None:
                    mapped, table = read_table(folder, name, FILM_SCHEMA, manifest, every_value)
                    films.append(FilmShard.of(mapped, table, manifest.prepared_size, folder / name))
                    continue
                index = film_index_name(shard)
                mapped, table = read_table(folder, index, INDEX_SCHEMA, manifest, every_value)
                of_shard, its_blocks = indexed_shard(mapped, table, manifest.prepared_size, name, folder / index)
                films.append(of_shard)
                blocks.extend(its_blocks)
            streamed = None if origin is None else StreamedPixels(origin, manifest, blocks, streaming)
            store = cls(folder, manifest, studies, films, streamed)
        pa.default_memory_pool().release_unused()  # of checks that are over; Arrow would keep it for itself
        return store

    def __reduce__(self) -> tuple[object, ...]:
        # Mapped files do not travel between processes: the other one opens the store for itself.
        return _open_again, (self.path, None if self.streamed is None else self.streamed.settings)

    def __len__(self) -> int:
        return len(self.study_ids)

    @property
    def hash(self) -> str:
        """sha256 (hex) of the content: equal stores have equal hashes."""
        return self.manifest.hash

    @property
    def prepared_size(self) -> int:
        """Side of the prepared square, in pixels."""
        return self.manifest.prepared_size

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the columns of :attr:`labels`."""
        return self.manifest.label_names

    @property
    def film_count(self) -> int:
        """Number of films."""
        return len(self._films)

    @cached_property
    def labels(self) -> NDArray[np.float32]:
        """``[n, K]`` float32, 1 present, 0 absent, NaN unknown; made when first asked for."""
        values = self._studies.column("labels").combine_chunks()
        flat: NDArray[np.float32] = values.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        return flat.reshape(len(self), len(self.label_names))

    @cached_property
    def _index(self) -> dict[str, int]:
        # Made when a study is first asked for by its id: a gigabyte for ten million of them.
        return {study_id: index for index, study_id in enumerate(self.study_ids)}

    def rows_of(self, study_ids: Sequence[str]) -> NDArray[np.int64]:
        """``[n]`` rows of many studies at once, -1 for those that the store does not hold."""
        found = pc.index_in(pa.array(study_ids, pa.string()), value_set=self._studies.column("study_id"))
        rows: NDArray[np.int64] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return rows

    @cached_property
    def patient_numbers(self) -> NDArray[np.int64]:
        """``[n]`` equal numbers for studies of one patient, -1 where the patient is unknown."""
        coded = self._studies.column("patient_id").dictionary_encode().combine_chunks()
        numbers = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return np.where(numbers == pc.index(coded.dictionary, "").as_py(), -1, numbers)

    def index_of(self, study_id: str) -> int:
        """The row of a study.

        Raises:
            DataError: the store does not hold it.
        """
        try:
            return self._index[study_id]
        except KeyError:
            raise DataError(f"study '{study_id}' is not in the store.", file=self.path) from None

    def __contains__(self, study_id: object) -> bool:
        return study_id in self._index

    def report(self, index: int) -> Report:
        """The report of a study, with its spans."""
        return report_of(self._study_cells(index, ("text", "sections", "sentences")))

    def phrase_regions(self, index: int) -> tuple[PhraseRegion, ...]:
        """Phrases of the report and where on a film they lie, where the source knows it."""
        return phrase_regions_of(self._study_cells(index, ("phrase_regions",)))

    def attributes(self, index: int) -> dict[str, str]:
        """What the publisher tells of a study besides (sex, age, view position...), see ``Study.attributes``."""
        return attributes_of(self._study_cells(index, ("attributes",)))

    def films_of(self, index: int, views: Sequence[View] = ("frontal",)) -> list[int]:
        """Film rows of a study in the source's order, of the given views."""
        rows = range(self._first_film[index], self._first_film[index + 1])
        return [row for row in rows if VIEWS[self._films.views[row]] in views]

    def film(self, row: int) -> PreparedFilm:
        """What is known of a film besides its pixels."""
        cells = {name: self._films.cell(row, name).as_py() for name in ("film_id", "boxes", *GEOMETRY_FIELDS)}
        names = pc.struct_field(self._films.cell(row, "masks").values, "name").to_pylist()
        geometry = FilmGeometry(**{name: cells[name] for name in GEOMETRY_FIELDS})
        return PreparedFilm(
            film_id=cells["film_id"],
            study_index=int(np.searchsorted(self._first_film, row, side="right")) - 1,
            view=VIEWS[self._films.views[row]],
            geometry=geometry,
            boxes=boxes_of(cells["boxes"]),
            mask_names=tuple(names),
        )

    def pixels(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Prepared films ``[n, S, S]`` uint8 (a copy), in the order asked for."""
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.film_count):
            raise IndexError(f"film rows must lie in 0..{self.film_count - 1}")
        return self._films.pixels(wanted)

    def blocks_of(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        """``[n]`` number of the block of each film: films of a block lie together, and are fetched together."""
        return self._films.blocks_of(np.asarray(rows, dtype=np.int64))

    def mask(self, row: int, name: str) -> NDArray[np.uint8]:
        """A mask on the prepared square, ``[S, S]`` uint8: 255 inside, 127 ignore, 0 outside.

        Raises:
            DataError: the film has no mask of that name.
        """
        masks: list[dict[str, Any]] = self._films.cell(row, "masks").as_py()
        for mask in masks:
            if mask["name"] == name:
                with altered(self.path):
                    return mask_from_png(mask["png"], self.prepared_size)
        known = ", ".join(mask["name"] for mask in masks) or "none"
        raise DataError(f"film row {row} has no mask '{name}'.", file=self.path, remedy=f"Its masks: {known}.")

    def _study_cells(self, index: int, names: Sequence[str]) -> dict[str, Any]:
        with altered(self.path):
            return {name: self._studies.column(name)[index].as_py() for name in names}


def study_table_name(shard: int) -> str:
    """File name of a shard's studies table."""
    return f"studies-{shard:05d}.arrow"


def film_table_name(shard: int) -> str:
    """File name of a shard's films table."""
    return f"films-{shard:05d}.arrow"


def _open_again(path: Path, streaming: StreamSettings | None) -> Store:
    return Store.open(path, streaming=streaming)


def _check_labels(labels: pa.ChunkedArray, label_count: int) -> None:
    for chunk in labels.iterchunks():
        if chunk.null_count or (pc.list_value_length(chunk).to_numpy() != label_count).any():
            raise ValueError(f"a study has not {label_count} labels")


def _first_films(studies: list[pa.Table], films: list[FilmShard]) -> NDArray[np.signedinteger]:
    """``[n + 1]`` first film of each study; the next study's is where its own end."""
    # Rows of the films table count studies within their shard, since earlier shards may have left studies out.
    count = sum(len(shard.study_rows) for shard in films)
    first: NDArray[np.signedinteger] = np.empty(sum(map(len, studies)) + 1, np.int32 if count < 2**31 else np.int64)
    study = film = 0
    for shard, length in zip(films, map(len, studies), strict=True):
        rows = shard.study_rows
        if len(rows) and (rows[0] < 0 or rows[-1] >= length or (rows[1:] < rows[:-1]).any()):
            raise ValueError(f"films belong to studies that are none of the shard's {length}, or not in their order")
        first[study : study + length] = film + np.searchsorted(rows, np.arange(length, dtype=rows.dtype))
        study, film = study + length, film + len(rows)
    first[study] = film
    return first
