"""``index.json``: what an index was made from and which files belong to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from crossray.errors import DataError
from crossray.files import FileEntry, unsealed
from crossray.settings import Settings

INDEX_FORMAT_VERSION = 1
MANIFEST_FILE = "index.json"
BUILD_AGAIN = "Make it again with crossray index build."

Kind = Literal["exact", "ivf", "hnsw"]


class IndexManifest(Settings):
    """Attributes of an index.

    Attributes:
        run, method: where the run was, and its method.
        weights: sha256 of its checkpoint: only vectors of these weights can be compared.
        checkpoint: which of the run's checkpoints that is.
        store: where the store was; ``store_hash`` is its content.
        prepared_size: side of its films.
        films, reports: vectors of each; a method that reads no reports has none.
        dimension: of the vectors, all of length 1: their product is a cosine.
        kind: how they are looked up.
    """

    format_version: int
    run: str
    method: str
    weights: str
    checkpoint: str
    store: str
    store_hash: str
    prepared_size: int
    films: int
    reports: int
    dimension: int = Field(ge=1)
    kind: Kind
    files: dict[str, FileEntry] = Field(default_factory=dict)
    version: str
    date: str


_OF_AN_INDEX = re.compile(r"index\.json|(films|reports)-[0-9a-f]{12}\.(faiss|parquet)|\..+\.tmp|\.owner\.(json|lock)")


def is_of_index(name: str) -> bool:
    """Whether a file's name is one of an index, or of what a killed build left of one."""
    return _OF_AN_INDEX.fullmatch(name) is not None


def read_manifest(folder: Path) -> IndexManifest:
    """The manifest of an index.

    Raises:
        DataError: there is no index, its manifest is damaged, or it has another format version.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise DataError("there is no index.", file=folder, remedy="Make it with crossray index build RUN STORE.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("is damaged.", file=path, remedy=BUILD_AGAIN) from error
    if version != INDEX_FORMAT_VERSION:
        problem = f"has format version {version}; this CrossRay reads {INDEX_FORMAT_VERSION}."
        raise DataError(problem, file=path, field="format_version", remedy=BUILD_AGAIN)
    try:
        return IndexManifest.model_validate(unsealed(content))
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DataError("is damaged.", file=path, field=field, remedy=BUILD_AGAIN) from error
    except ValueError as error:
        raise DataError(f"is damaged: {error}.", file=path, remedy=BUILD_AGAIN) from error
