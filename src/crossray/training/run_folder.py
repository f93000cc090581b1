"""A run's folder: which recipe it belongs to, what it was made from, and when it is complete."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crossray
from crossray.data.pairs import LeftOut
from crossray.errors import CheckpointError, ConfigError
from crossray.files import explained_disk_errors, sha256_of, sha256_of_json, write_json, write_whole
from crossray.inference.run_files import RUN_FORMAT_VERSION
from crossray.settings import read_yaml
from crossray.training.recipe import Recipe, differences, recipe_text

CONFIG_FILE = "config.yaml"
MANIFEST_FILE = "manifest.json"
LEFT_OUT_FILE = "left_out.csv"
TOKENIZER = "tokenizer"

# What may differ when a run is resumed: how it is carried out, and the store's place (its content is hashed).
_FREE = (("runtime", None), ("data", "store"))


@dataclass(frozen=True)
class Provenance:
    """Hashes of what a run is made from, and the side of the films that it was given."""

    store: str
    split: str
    prepared_size: int

    def identity(self, recipe: Recipe) -> str:
        """sha256 of everything that must be the same for a run to be resumed."""
        content = _without_free(recipe.model_dump(mode="json"))
        return sha256_of_json({"recipe": content, "store": self.store, "split": self.split})


def open_run(folder: Path, recipe: Recipe, provenance: Provenance) -> None:
    """Make a run's folder, or check that the one there belongs to this recipe.

    Raises:
        ConfigError: a run with another configuration is there; the message names what differs.
        CheckpointError: the folder holds something else, or cannot be written.
    """
    config = folder / CONFIG_FILE
    if config.is_file():
        different = config_differences(folder, recipe)
        if different:
            raise ConfigError(
                f"holds a run with another configuration: {'; '.join(different)}.",
                file=folder,
                remedy="Choose another output folder, or go back to the configuration of the run.",
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError("is not empty and holds no run.", file=folder, remedy="Choose a new folder for the run.")
    with explained_disk_errors(CheckpointError, folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MANIFEST_FILE, _manifest(provenance, "training", {}))
        write_whole(config, recipe_text(recipe))  # last: its presence says that the folder is set up


def config_differences(folder: Path, recipe: Recipe) -> list[str]:
    """Where the run in ``folder`` and a resolved recipe differ, without what may differ when a run is resumed."""
    before = _without_free(read_yaml(folder / CONFIG_FILE))
    now, chosen = recipe.model_dump(mode="json"), recipe.model_dump(mode="json", exclude_defaults=True)
    return differences(before, _without_free(now), _without_free(chosen))


def run_outcome(folder: Path) -> str | None:
    """``training``, or how the run ended (``finished``, ``stopped early``); None if there is no run."""
    if not (folder / CONFIG_FILE).is_file():
        return None
    try:
        return str(json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["outcome"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("the run's manifest is missing or damaged.", file=folder / MANIFEST_FILE) from error


def list_left_out(folder: Path, left_out: Sequence[LeftOut]) -> None:
    """Write ``left_out.csv``: the studies of the split that make no pair, with the reason (only if there are any)."""
    if not left_out:
        return
    rows = [(left.study_id, left.reason) for left in left_out]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("study_id", "reason"), *rows])
    with explained_disk_errors(CheckpointError, folder):
        write_whole(folder / LEFT_OUT_FILE, text.getvalue())


def seal_run(folder: Path, provenance: Provenance, outcome: str) -> None:
    """Write the manifest of a run that is over, with the sha256 of its files."""
    names = [CONFIG_FILE, "metrics.jsonl"]
    names += [
        path.relative_to(folder).as_posix()
        for part in (TOKENIZER, "checkpoints")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    with explained_disk_errors(CheckpointError, folder):
        files = {name: sha256_of(folder / name) for name in names}
        write_json(folder / MANIFEST_FILE, _manifest(provenance, outcome, files))


def _manifest(provenance: Provenance, outcome: str, files: dict[str, str]) -> dict[str, Any]:
    return {
        "kind": "run",
        "format_version": RUN_FORMAT_VERSION,
        "crossray": crossray.__version__,
        "outcome": outcome,
        "made_from": {"store": provenance.store, "split": provenance.split},
        "prepared_size": provenance.prepared_size,
        "files": files,
    }


def _without_free(content: dict[str, Any]) -> dict[str, Any]:
    kept = {name: dict(section) if isinstance(section, dict) else section for name, section in content.items()}
    for section, key in _FREE:
        if key is None:
            kept.pop(section, None)
        elif isinstance(kept.get(section), dict):
            kept[section].pop(key, None)
    return kept
