"""The seal of a results folder: size and sha256 of its tables, draws and report, written last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

import crossray
from crossray.errors import ConfigError, CrossRayError, DataError
from crossray.files import FileEntry, check_fences, explained_disk_errors, unsealed, write_sealed_json
from crossray.settings import Settings, build_settings

TABLES = ("results.json", "localized.json")
MANIFEST = "manifest.json"

_PARTS = ("results", "draws", "localized", "localized_draws", "report", "groups", "confounding", "numbers")
_ENDINGS = (".json", ".csv", ".md", ".npz", ".html", ".parquet")


class ResultsManifest(Settings):
    """``manifest.json`` of a results folder.

    ``made_from`` are files of weights elsewhere, by the path that was given; those of runs stand in the results.
    """

    kind: Literal["results"] = "results"
    format_version: Literal[1] = 1
    crossray: str
    files: dict[str, FileEntry]
    made_from: dict[str, FileEntry] = Field(default_factory=dict)


def seal_results(folder: Path, made_from: Mapping[str, FileEntry] | None = None) -> None:
    """Write the manifest over what an evaluation has just written into ``folder``, made from these files elsewhere."""
    names = [part + ending for part in _PARTS for ending in _ENDINGS]
    entries = {name: FileEntry.of(folder / name) for name in names if (folder / name).is_file()}
    manifest = ResultsManifest(crossray=crossray.__version__, files=entries, made_from=dict(made_from or {}))
    with explained_disk_errors(CrossRayError, folder):
        write_sealed_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def break_seal(folder: Path) -> None:
    """Remove the manifest before anything is written anew: what is half new has none."""
    check_fences(folder)
    (folder / MANIFEST).unlink(missing_ok=True)


def read_results_manifest(folder: Path) -> ResultsManifest | None:
    """The manifest, if the folder has one.

    Raises:
        DataError: it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return build_settings(ResultsManifest, unsealed(json.loads(path.read_text(encoding="utf-8"))), file=path)
    except (ConfigError, ValueError, AttributeError) as error:
        raise DataError(f"is damaged: {error}.", file=path, remedy="Run the evaluation again.") from error
