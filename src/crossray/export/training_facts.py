"""What a run folder says of its training, for the model card: data, split, start, budget. No path is among it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossray.data.split_files import read_split
from crossray.data.store_manifest import read_manifest
from crossray.errors import CrossRayError
from crossray.files import sha256_of
from crossray.inference.hub import origin_of
from crossray.inference.run_files import CONFIG_FILE, RunManifest, checkpoint_file, read_run_manifest
from crossray.settings import read_yaml

NAMED_WEIGHTS = ("none", "imagenet", "minilm")
"""Where encoders may begin, by a name that means the same everywhere; anything else is a path or a hub id."""


@dataclass(frozen=True)
class TrainingFacts:
    """Of one checkpoint of a run.

    Attributes:
        manifest: the run's.
        weights: sha256 of the checkpoint, of an exported folder that of the run it was made from.
        hub: ``owner/model@commit`` if it came from the hub.
        source: name of the source of its store; None where the store is not at hand.
        split: name of its split; None where that is not at hand.
        data, training: sections of its recipe; empty in an exported folder, which keeps the model alone.
    """

    manifest: RunManifest
    weights: str
    hub: str | None
    source: str | None
    split: str | None
    data: dict[str, Any]
    training: dict[str, Any]

    @classmethod
    def of(cls, run: Path, checkpoint: str) -> TrainingFacts:
        """Read the run's folder, and the names of store and split if the ones it was trained on are still there.

        Raises:
            CheckpointError, ConfigError: the folder is no run.
        """
        manifest, config = read_run_manifest(run), read_yaml(run / CONFIG_FILE)
        data = config.get("data") or {}
        return cls(
            manifest=manifest,
            weights=manifest.weights_of or sha256_of(checkpoint_file(run, checkpoint)),
            hub=origin_of(run),
            source=_source(Path(str(data.get("store"))), manifest.made_from.get("store")),
            split=_split(str(data.get("split")), manifest.made_from.get("split")),
            data=data,
            training=config.get("training") or {},
        )


def _source(store: Path, wanted: str | None) -> str | None:
    try:
        manifest = read_manifest(store)
    except CrossRayError:
        return None
    return manifest.inputs.source if manifest.hash == wanted else None


def _split(where: str, wanted: str | None) -> str | None:
    try:
        split = read_split(where)
    except CrossRayError:
        return None
    return split.protocol if split.hash == wanted else None
