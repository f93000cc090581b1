"""Vectors of a store's films, part by part: shared among processes or hosts, gone on with after a stop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from crossray.data.prepare import Share
from crossray.data.publish import discard, work_folder
from crossray.data.store import Store
from crossray.data.verify import open_whole
from crossray.errors import CheckpointError
from crossray.files import sha256_of
from crossray.inference.embed import FILMS_PER_PART, Embeddings, Space, film_names, film_vectors
from crossray.inference.joint_model import JointModel, Progress
from crossray.inference.run_files import CONFIG_FILE, checkpoint_file, stream_settings
from crossray.tensor_file import read_tensors, write_tensors
from crossray.versions import code_version

_VECTORS = "vectors"


@dataclass(frozen=True)
class StoreEmbedding:
    """What is embedded, how, and into which ``.npz``; the arguments are those of :func:`.embed.embed_films`."""

    run: Path
    store: Path | str
    out: Path
    space: Space = "joint"
    checkpoint: str = "best"
    batch_size: int = 32

    def inputs(self, store: Store) -> str:
        """All that the vectors depend on, beside the machine."""
        facts = {
            "store": store.hash,
            "config": sha256_of(self.run / CONFIG_FILE),
            "weights": sha256_of(checkpoint_file(self.run, self.checkpoint)),
            "space": self.space,
            "batch_size": self.batch_size,
            "code": code_version(files("crossray"), frozenset()),
        }
        return json.dumps(facts)


def embed_store(asked: StoreEmbedding, progress: Progress | None = None) -> Embeddings:
    """Write names and vectors of all films of a store; what shares have made, or a killed call, is not made again.

    Raises:
        CheckpointError, DataError, StoreError: the run or the store cannot be used, or the place not be written to.
        FolderInUseError, FolderTakenError: another process makes the same file.
    """
    store = open_whole(asked.store, stream_settings(asked.run))
    with work_folder(asked.out, asked.inputs(store)) as folder:
        parts = _make(asked, store, folder, range(0, store.film_count, FILMS_PER_PART), progress)
        found = Embeddings(film_names(store), np.concatenate(parts))
        found.save(asked.out)
        discard(folder)
    return found


def embed_share(asked: StoreEmbedding, share: Share, progress: Progress | None = None) -> int:
    """Make one share of the parts, beside other processes or hosts that make theirs; the number of parts.

    There is no ``.npz`` before :func:`embed_store` is called: it takes the parts, makes those that are missing, and
    ends in the bytes that it writes alone.

    Raises:
        CheckpointError, DataError, StoreError: as :func:`embed_store`; or another embedding is being made there.
    """
    store = open_whole(asked.store, stream_settings(asked.run))
    film_names(store)
    with work_folder(asked.out, asked.inputs(store), shared=True) as folder:
        starts = range(0, store.film_count, FILMS_PER_PART)[share.index :: share.count]
        return len(_make(asked, store, folder, starts, progress))


def _make(
    asked: StoreEmbedding, store: Store, folder: Path, starts: Sequence[int], progress: Progress | None
) -> list[NDArray[np.float32]]:
    """The parts that begin at the given films, read or made."""
    found = {start: part for start in starts if (part := _finished(_file(folder, start))) is not None}
    rows = {start: range(start, min(start + FILMS_PER_PART, store.film_count)) for start in starts}
    missing = [start for start in starts if start not in found]
    if not missing:
        return list(found.values())
    model = JointModel.load(asked.run, asked.checkpoint)
    for start in missing:
        found[start] = film_vectors(model, store.pixels(rows[start]), asked.space, asked.batch_size)
        write_tensors(_file(folder, start), {_VECTORS: torch.from_numpy(found[start])}, {})
        if progress is not None:
            progress(sum(len(rows[done]) for done in found), sum(map(len, rows.values())))
    return [found[start] for start in starts]


def _file(folder: Path, start: int) -> Path:
    return folder / f"films-{start:09d}.safetensors"


def _finished(file: Path) -> NDArray[np.float32] | None:
    """The vectors of a part that is whole."""
    try:
        tensors, _ = read_tensors(file)
    except CheckpointError:
        return None
    vectors: NDArray[np.float32] = tensors[_VECTORS].numpy()
    return vectors
