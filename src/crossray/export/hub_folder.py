"""A folder to pass on: what :class:`JointModel` reads of a run and no more, and a card that says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from torch.nn import functional as F

import crossray
from crossray.export.parity import TEXTS, Parity, difference, noise_films
from crossray.export.training_facts import NAMED_WEIGHTS
from crossray.files import FileEntry, sha256_of, write_sealed_json, write_whole
from crossray.inference.calibration import CALIBRATION_FILE
from crossray.inference.hub import origin_of
from crossray.inference.joint_model import JointModel
from crossray.inference.run_files import (
    CONFIG_FILE,
    MANIFEST_FILE,
    ModelConfig,
    RunManifest,
    checkpoint_file,
    read_model_config,
    read_run_manifest,
)
from crossray.tensor_file import write_tensors

WEIGHTS = "checkpoints/best.safetensors"


def write_hub_folder(run: Path, checkpoint: str, model: JointModel, prepared_size: int, out: Path) -> list[Parity]:
    """Configuration, tokenizer, weights and, if there is one, calibration; data and training of the recipe stay behind.

    Returns:
        How far the folder's vectors are from the run's: zero.
    """
    config, own = read_model_config(run), read_run_manifest(run)
    write_whole(out / CONFIG_FILE, yaml.safe_dump(_without_places(config), sort_keys=False, allow_unicode=True))
    model.tokenizer.save(out / "tokenizer")
    if (run / CALIBRATION_FILE).is_file():  # it names the weights, and is used with no others
        write_whole(out / CALIBRATION_FILE, (run / CALIBRATION_FILE).read_text(encoding="utf-8"))
    facts = {"kind": "crossray weights"}
    (out / "checkpoints").mkdir(exist_ok=True)
    write_tensors(out / WEIGHTS, model.method.state_dict(), facts)
    manifest = RunManifest(
        crossray=crossray.__version__,
        outcome="exported",
        made_from=own.made_from,
        prepared_size=prepared_size,
        # Of an export that is exported again still those of the run: calibration and results name them.
        weights_of=own.weights_of or sha256_of(checkpoint_file(run, checkpoint)),
        hub=origin_of(run),
        files={name: FileEntry.of(out / name) for name in (CONFIG_FILE, WEIGHTS, "tokenizer/tokenizer.json")},
    )
    write_sealed_json(out / MANIFEST_FILE, manifest.model_dump(mode="json"))
    return _parity(model, JointModel.load(out), prepared_size)


def _parity(one: JointModel, other: JointModel, prepared_size: int) -> list[Parity]:
    films = noise_films(prepared_size)
    with torch.no_grad():
        found = [difference("folder, films", other.embed_images(films).pooled, one.embed_images(films).pooled)]
        if one.method.reads_reports:
            own, theirs = (F.normalize(model.embed_texts(TEXTS).report, dim=1) for model in (one, other))
            found.append(difference("folder, texts", theirs, own))
    return found


def _without_places(config: ModelConfig) -> dict[str, Any]:
    """The model's sections; a path that initial weights came from says nothing elsewhere and may name a machine."""
    content = config.model_dump(mode="json")
    for name in ("image_encoder", "text_encoder"):
        if content[name]["pretrained"] not in NAMED_WEIGHTS:
            content[name]["pretrained"] = "none"
    return content
