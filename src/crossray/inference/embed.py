"""Vectors of films or texts as files: for another program, a classifier of one's own, a plot."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossray.data.film_file import read_prepared
from crossray.data.store import Store
from crossray.data.verify import open_whole
from crossray.errors import ConfigError, CrossRayError, DataError
from crossray.files import explained_disk_errors, write_whole
from crossray.inference.joint_model import JointModel, Progress
from crossray.inference.run_files import prepared_size_of

Space = Literal["joint", "trunk"]

FILMS_PER_PART = 256
"""Films that are read at a time. The batches within depend on it, and a film's last digits on its batch."""


@dataclass(frozen=True)
class Embeddings:
    """``vectors [N, D]`` float32 and what each is of: ``names [N]``, film ids, paths or texts."""

    names: tuple[str, ...]
    vectors: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write an ``.npz`` with ``names`` and ``vectors``."""
        buffer = io.BytesIO()
        np.savez(buffer, names=np.array(self.names), vectors=self.vectors)
        with explained_disk_errors(CrossRayError, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, buffer.getvalue())


def embed_films(
    run: Path,
    films: Sequence[Path],
    *,
    space: Space = "joint",
    checkpoint: str = "best",
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Embeddings:
    """Vectors of films: of all films of a store (one folder), or of files (DICOM, PNG, JPEG).

    Args:
        run: whose model embeds.
        films: the folder of a store, or files.
        space: ``joint`` gives vectors of length 1 that compare with texts by their product; ``trunk`` the pooled
            features of the image encoder as they are, for a classifier.
        checkpoint: which weights of the run.
        batch_size: films at once.
        progress: told how many are done, of how many.

    Raises:
        ConfigError: there is no film.
        CheckpointError, StoreError: the run or the store cannot be used.
        StudyError: a file cannot be read as a film.
    """
    model = JointModel.load(run, checkpoint)
    names, chunks = _of_store(films[0]) if len(films) == 1 and films[0].is_dir() else _of_files(run, films)
    parts: list[NDArray[np.float32]] = []
    done = 0
    for pixels in chunks:
        parts.append(film_vectors(model, pixels, space, batch_size))
        done += len(pixels)
        if progress is not None:
            progress(done, len(names))
    return Embeddings(names, np.concatenate(parts))


def embed_texts(run: Path, texts: Sequence[str], *, checkpoint: str = "best", batch_size: int = 64) -> Embeddings:
    """Vectors of length 1 of sentences or reports in the joint space.

    Raises:
        ConfigError: the run's method reads no reports, or there is no text.
        CheckpointError: the run cannot be used.
    """
    model = JointModel.load(run, checkpoint)
    if not model.method.reads_reports:
        raise ConfigError(f"{model.method.name} reads no text.", file=run)
    return Embeddings(tuple(texts), unit(model.embed_texts(texts, batch_size).report.numpy()))


def film_vectors(model: JointModel, pixels: NDArray[np.uint8], space: Space, batch_size: int) -> NDArray[np.float32]:
    """Vectors ``[N, D]`` of prepared films ``[N, S, S]``, as :func:`embed_films` gives them."""
    if space == "trunk":
        return model.image_features(pixels, batch_size).numpy()
    return unit(model.embed_images(pixels, batch_size).pooled.numpy())


def film_names(store: Store) -> tuple[str, ...]:
    """The ids of a store's films, in its order.

    Raises:
        DataError: it holds none.
    """
    if not store.film_count:
        raise DataError("the store holds no film.", file=store.path)
    return tuple(store.film(row).film_id for row in range(store.film_count))


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row ``[N, D]`` at length 1; zeros stay zeros."""
    scaled: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled.astype(np.float32)


def _of_store(folder: Path) -> tuple[tuple[str, ...], Iterator[NDArray[np.uint8]]]:
    store = open_whole(folder)
    rows = range(store.film_count)
    pieces = (store.pixels(rows[start : start + FILMS_PER_PART]) for start in rows[::FILMS_PER_PART])
    return film_names(store), pieces


def _of_files(run: Path, films: Sequence[Path]) -> tuple[tuple[str, ...], Iterator[NDArray[np.uint8]]]:
    if not films:
        raise ConfigError("no film was named.", remedy="Name files, or the folder of a store.")
    size = prepared_size_of(run)
    pieces = (films[start : start + FILMS_PER_PART] for start in range(0, len(films), FILMS_PER_PART))
    return tuple(map(str, films)), (np.stack([read_prepared(file, size)[0] for file in piece]) for piece in pieces)
