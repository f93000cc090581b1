"""What evaluation needs to know of a run folder, read from its resolved ``config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crossray.errors import CheckpointError
from crossray.files import sha256_of
from crossray.inference.run_files import CONFIG_FILE, ModelConfig, checkpoint_file, read_model_config, read_run_manifest
from crossray.settings import read_yaml


@dataclass(frozen=True)
class Run:
    """A trained run: one fold of one recipe."""

    path: Path
    config: Mapping[str, Any]
    checkpoint: str = "best"

    @property
    def fold(self) -> str:
        """Name of the fold whose training side the run saw."""
        return str(self._data["fold"])

    @property
    def store(self) -> str:
        """Its store: a folder or URL."""
        return str(self._data["store"])

    @property
    def split(self) -> str:
        """Its split list: a path or a shipped name."""
        return str(self._data["split"])

    @property
    def method(self) -> str:
        """Name of its method."""
        return self.model.method.name

    @property
    def seed(self) -> int:
        """Seed of its training."""
        return int(self._section("training").get("seed", 0))

    @cached_property
    def model(self) -> ModelConfig:
        """Its model and what that is fed: the sections image, text, image_encoder, text_encoder, method."""
        return read_model_config(self.path)

    @cached_property
    def weights_hash(self) -> str:
        """sha256 of the checkpoint that is evaluated."""
        return sha256_of(checkpoint_file(self.path, self.checkpoint))

    @cached_property
    def made_from(self) -> Mapping[str, str]:
        """Hashes of the store and the split that it was trained on."""
        return read_run_manifest(self.path).made_from

    def check_made_from(self, store_hash: str, split_hash: str) -> None:
        """Refuse to evaluate on another store or split than the run was trained on: its test side may have been seen.

        Raises:
            CheckpointError: naming which of the two differs.
        """
        for name, expected in (("store", store_hash), ("split", split_hash)):
            own = self.made_from.get(name)
            if own != expected:
                raise CheckpointError(
                    f"was trained on another {name} (hash {str(own)[:12]}, here {expected[:12]}).",
                    file=self.path,
                    remedy=f"Evaluate it on the {name} of its config.yaml, or prepare that {name} again.",
                )

    @property
    def _data(self) -> Mapping[str, Any]:
        section = self._section("data")
        missing = [key for key in ("store", "split", "fold") if section.get(key) is None]
        if missing:
            raise CheckpointError(f"does not say data.{missing[0]}.", file=self.path / CONFIG_FILE)
        return section

    def _section(self, name: str) -> Mapping[str, Any]:
        section = self.config.get(name)
        return section if isinstance(section, dict) else {}


def find_runs(paths: Sequence[Path], checkpoint: str = "best") -> list[Run]:
    """The runs that paths name: each a run folder, or a folder of them (``RUN/fold0``, ``RUN/fold1``, ...).

    Raises:
        CheckpointError: a path holds no run, or two runs are of the same fold.
    """
    folders: list[Path] = []
    for path in paths:
        own = (
            [path] if (path / CONFIG_FILE).is_file() else sorted(file.parent for file in path.glob(f"*/{CONFIG_FILE}"))
        )
        if not own:
            raise CheckpointError(
                "is no run folder and holds none.", file=path, remedy="Give the folder that crossray pretrain wrote."
            )
        folders += own
    runs = [Run(folder, read_yaml(folder / CONFIG_FILE), checkpoint) for folder in folders]
    folds = [run.fold for run in runs]
    twice = next((run for run in runs if folds.count(run.fold) > 1), None)
    if twice is not None:
        raise CheckpointError(
            f"fold '{twice.fold}' is there {folds.count(twice.fold)} times.",
            file=twice.path,
            remedy="Evaluate one recipe at a time, one run for each fold.",
        )
    return sorted(runs, key=lambda run: run.fold)
