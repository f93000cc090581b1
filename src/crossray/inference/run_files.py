"""What inference reads of a run folder: its configuration, and that the folder is a run at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from crossray.data.augment import ImageInputConfig
from crossray.data.text import TextConfig
from crossray.encoders.image import ImageEncoderConfig
from crossray.encoders.text import TextEncoderConfig
from crossray.errors import CheckpointError
from crossray.methods.build import MethodConfig
from crossray.settings import Settings, build_settings, read_yaml

RUN_FORMAT_VERSION = 1


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
    file = run / "config.yaml"
    if not file.is_file():
        problem = "is not a run folder: it has no config.yaml." if run.is_dir() else "there is no such run folder."
        raise CheckpointError(problem, file=run, remedy="Give the folder that crossray pretrain wrote.")
    _check_version(run / "manifest.json")
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
    folder = run / "checkpoints"
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
    found = _manifest(run / "manifest.json").get("prepared_size")
    return found if isinstance(found, int) and found > 0 else image.resize or image.size


def _manifest(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {"format_version": content["format_version"], **content}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("the run's manifest is missing or damaged.", file=file) from error


def _check_version(file: Path) -> None:
    version = _manifest(file)["format_version"]
    if version != RUN_FORMAT_VERSION:
        raise CheckpointError(
            f"the run has format version {version}; this CrossRay reads {RUN_FORMAT_VERSION}.",
            file=file,
            field="format_version",
            remedy="Use the CrossRay that wrote it (its version stands in the manifest).",
        )
