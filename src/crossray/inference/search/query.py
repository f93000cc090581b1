"""One query from words or a film to what was found, with the words of its reports."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.film_file import read_prepared
from crossray.data.store import Store
from crossray.errors import ConfigError, StoreError
from crossray.files import sha256_of
from crossray.inference.joint_model import JointModel
from crossray.inference.run_files import checkpoint_file
from crossray.inference.search.index import Hit, SearchIndex, Side
from crossray.inference.search.manifest import IndexManifest, read_manifest

_SHOWN = 160


@dataclass(frozen=True)
class Query:
    """What is looked for: the nearest ``k`` of a side to a text or to a film (one of the two)."""

    text: str | None = None
    image: Path | None = None
    side: Side = "films"
    k: int = 10


@dataclass(frozen=True)
class Found:
    """A hit with the report of its study; ``None`` where the store is not at hand or has none."""

    hit: Hit
    report: str | None


def search_for(index: Path, query: Query, *, run: Path | None = None, store: Path | str | None = None) -> list[Found]:
    """Answer one query.

    Args:
        index: folder of ``crossray index build``.
        query: what is looked for.
        run, store: where they are now, if they were moved. Without its store an index answers with ids only.

    Raises:
        ConfigError: neither a text nor a film was given, or both; or the run has other weights.
        DataError: the index, or the store that was named, does not fit.
        StudyError: the film cannot be read.
    """
    if (query.text is None) == (query.image is None):
        raise ConfigError("give either a text or a film.", field="--text, --image")
    manifest = read_manifest(index)
    place = run or Path(manifest.run)
    opened_store = store_of_index(manifest, store)
    opened = SearchIndex.open(
        index,
        store_hash=opened_store.hash if opened_store else None,
        weights=sha256_of(checkpoint_file(place, manifest.checkpoint)),
    )
    model = JointModel.load(place, manifest.checkpoint)
    vector = _text_vector(model, query.text) if query.text is not None else _film_vector(model, opened, query.image)
    hits = opened.search(vector, query.k, query.side)[0]
    return [Found(hit, _report_of(opened_store, hit)) for hit in hits]


def found_lines(found: list[Found]) -> list[str]:
    """For people: a line for each hit, and the beginning of its report."""
    lines = []
    for rank, one in enumerate(found, start=1):
        who = f"study {one.hit.study_id}" + (f", film {one.hit.film_id} ({one.hit.view})" if one.hit.film_id else "")
        lines.append(f"{rank:3d}  {one.hit.score:+.3f}  {who}")
        if one.report:
            lines.append(" " * 13 + textwrap.shorten(one.report, _SHOWN, placeholder=" ..."))
    return lines or ["Nothing was found."]


def found_as_json(found: list[Found]) -> str:
    """For programs: a list of hits with score, ids, view and report."""
    return json.dumps([{**asdict(one.hit), "report": one.report} for one in found], indent=2, ensure_ascii=False)


def _text_vector(model: JointModel, text: str) -> NDArray[np.float32]:
    if not text.strip():
        raise ConfigError("is empty.", field="--text", remedy="Write what you look for.")
    if not model.method.reads_reports:
        raise ConfigError(f"{model.method.name} reads no text.", field="--text", remedy="Search with --image.")
    vector: NDArray[np.float32] = model.embed_texts([text]).report.numpy()
    return vector


def _film_vector(model: JointModel, index: SearchIndex, image: Path | None) -> NDArray[np.float32]:
    assert image is not None  # one of the two was given
    film, _ = read_prepared(image, index.manifest.prepared_size)
    vector: NDArray[np.float32] = model.embed_images(film[None]).pooled.numpy()
    return vector


def store_of_index(manifest: IndexManifest, store: Path | str | None) -> Store | None:
    """The named store, or the one that the index was made from if it is still there as it was."""
    if store is not None:
        return Store.open(store, every_value=True)
    try:
        found = Store.open(manifest.store, every_value=True)
    except StoreError:
        return None
    return found if found.hash == manifest.store_hash else None


def _report_of(store: Store | None, hit: Hit) -> str | None:
    return None if store is None else store.report(store.index_of(hit.study_id)).text or None
