"""What inference reads of a run folder: its configuration, and that the folder is a run at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from crossray.data.augment import ImageInputConfig
from crossray.data.streaming.settings import StreamSettings
from crossray.data.text import TextConfig
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.errors import CheckpointError, ConfigError
from crossray.files import FileEntry, unsealed
from crossray.methods.build import MethodConfig
from crossray.settings import Settings, build_settings, read_yaml

CONFIG_FILE = "config.yaml"
MANIFEST_FILE = "manifest.json"
CHECKPOINTS = "checkpoints"
TRAINING = "training"
"""The outcome of a run that is not over."""

RUN_FORMAT_VERSION = 1


class Sitting(Settings):
    """What a run was carried out with, from a start to a stop: all that its last digits depend on beside the recipe.

    Attributes:
        code: version and hash of the modules that training uses.
        versions: of Python, the platform and libraries.
        device: the accelerator's name, or the instructions that the CPU offers.
        threads: of each process.
        processes: that trained together.
    """

    code: str
    versions: dict[str, str]
    device: str
    threads: int
    processes: int


class RunManifest(Settings):
    """``manifest.json`` of a run.

    Attributes:
        crossray: version that began it.
        outcome: ``training``, or how it ended (``finished``, ``stopped early``), or ``exported``.
        made_from: hashes of ``store`` and ``split``, and of the file of ``initial_weights`` if there is one.
        prepared_size: side of the films in its store; runs of earlier versions do not say it.
        weights_of: of an exported folder: sha256 of the checkpoint it was made from.
        hub: of an export of a model from the hub: ``owner/model@commit``.
        sittings: one, unless it was resumed with other code or another environment. Earlier versions have none.
        files: what was written; while it trains, only what does not change any more.
    """

    kind: Literal["run"] = "run"
    format_version: int = RUN_FORMAT_VERSION
    crossray: str = "unknown"
    outcome: str = "unknown"
    made_from: dict[str, str] = Field(default_factory=dict)
    prepared_size: int | None = None
    weights_of: str | None = None
    hub: str | None = None
    sittings: tuple[Sitting, ...] = ()
    files: dict[str, FileEntry] = Field(default_factory=dict)

    @field_validator("files", mode="before")
    @classmethod
    def _a_hash_alone_is_an_entry_too(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: FileEntry(entry) if isinstance(entry, str) else entry for name, entry in value.items()}


def read_run_manifest(run: Path) -> RunManifest:
    """The manifest of a run folder.

    Raises:
        CheckpointError: it is missing, damaged, or of another format version.
    """
    file = run / MANIFEST_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version = content["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the run's manifest is missing or damaged ({error}).", file=file) from error
    if version != RUN_FORMAT_VERSION:
        raise CheckpointError(
            f"the run has format version {version}; this CrossRay reads {RUN_FORMAT_VERSION}.",
            file=file,
            field="format_version",
            remedy="Use the CrossRay that wrote it (its version stands in the manifest).",
        )
    try:
        return build_settings(RunManifest, unsealed(content), file=file)
    except (ConfigError, ValueError) as error:
        raise CheckpointError(f"the run's manifest is damaged: {error}.", file=file) from error


class ModelConfig(Settings):
    """The sections of a run's recipe that make the model and what it is fed."""

    image: ImageInputConfig
    text: TextConfig
    image_encoder: ImageEncoderConfig
    text_encoder: TextEncoderConfig
    method: MethodConfig = Field(discriminator="name")


def read_model_config(run: Path) -> ModelConfig:
    """The model's part of ``config.yaml``.

    Raises:
        CheckpointError: the folder is no run, was not set up completely, or has another format version.
        ConfigError: ``config.yaml`` is damaged.
    """
    file = run / CONFIG_FILE
    if not file.is_file():
        problem = "is not a run folder: it has no config.yaml." if run.is_dir() else "there is no such run folder."
        raise CheckpointError(problem, file=run, remedy="Give the folder that crossray pretrain wrote.")
    read_run_manifest(run)  # of a version that can be read
    content = read_yaml(file)
    missing = [name for name in ModelConfig.model_fields if name not in content]
    if missing:
        raise CheckpointError(f"lacks the section '{missing[0]}'.", file=file, field=missing[0])
    return build_settings(ModelConfig, {name: content[name] for name in ModelConfig.model_fields}, file=file)


def checkpoint_file(run: Path, checkpoint: str) -> Path:
    """The weights called ``checkpoint`` (``best``, ``last``).

    Raises:
        CheckpointError: they are not there; the message names those that are.
    """
    folder = run / CHECKPOINTS
    file = folder / f"{checkpoint}.safetensors"
    if not file.is_file():
        there = sorted(path.stem for path in folder.glob("*.safetensors") if path.stem != "state")
        remedy = f"There is {', '.join(there)}." if there else "Nothing has been saved yet: let the run go on."
        raise CheckpointError(f"the run has no checkpoint '{checkpoint}'.", file=file, remedy=remedy)
    return file


def prepared_size_of(run: Path) -> int:
    """Side to which a film's file is to be prepared for a run: that of the store which it was trained on.

    Runs of earlier versions do not say it; then the side from which their crops are taken.

    Raises:
        CheckpointError, ConfigError: as :func:`read_model_config`.
    """
    image = read_model_config(run).image
    return read_run_manifest(run).prepared_size or image.resize or image.size


def stream_settings(run: Path | None) -> StreamSettings:
    """How a run read a store at a URL, and what is made from the run reads one; the environment's cache comes first.

    Raises:
        ConfigError: its configuration cannot be read.
    """
    runtime = read_yaml(run / CONFIG_FILE).get("runtime") if run and (run / CONFIG_FILE).is_file() else None
    section = runtime.get("streaming") if isinstance(runtime, dict) else None
    return build_settings(StreamSettings, section or {}).with_cache_of_environment()
