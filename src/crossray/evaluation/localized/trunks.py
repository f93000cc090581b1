"""The trunk that a suite is run on: of a run of ours, or of timm with ImageNet weights, a file's, or random ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from crossray.data.split_files import read_split
from crossray.encoders.image import ImageEncoder, ImageEncoderConfig
from crossray.encoders.image_layout import architecture_of
from crossray.encoders.image_weights import with_positions_of
from crossray.errors import ConfigError
from crossray.evaluation.localized.films import TaskFilms
from crossray.evaluation.models import trainable_encoder
from crossray.evaluation.runs import Run, find_runs
from crossray.inference.joint_model import JointModel

_TIMM, _RANDOM = "timm:", "random:"
_RANDOM_SEED = 0
_SIZED = ("vit", "deit", "beit", "eva", "swin")
"""Parts of the names of architectures that must be told the size of films."""


@dataclass(frozen=True)
class OpenedTrunk:
    """An encoder, what tables call it, and the sha256 of its tensors. Nobody trains it: fine-tuning takes a copy.

    ``run`` is where it comes from, if it is one of ours.
    """

    name: str
    encoder: ImageEncoder
    hash: str
    run: Run | None = None

    def refuse_seen(self, films: TaskFilms) -> None:
        """Refuse test films that the run was trained on: one that was pretrained on this very store may have been.

        Raises:
            ConfigError: a test film was on the training or validation side of the run.
        """
        if self.run is None or self.run.made_from.get("store") != films.store.hash:
            return
        own = read_split(self.run.split).fold(self.run.fold)
        seen = {*own.train, *own.validation} & set(films.split.folds[0].test)
        if seen:
            raise ConfigError(
                f"{len(seen)} test studies, such as '{min(seen)}', were on the training or validation side of the run.",
                file=self.run.path,
                remedy="Give the split list and fold that it was trained with.",
            )


def open_trunk(where: str, size: int, *, weights: str | None = None, checkpoint: str = "best") -> OpenedTrunk:
    """The trunk that ``where`` names.

    Args:
        where: the folder of a run; a file of weights, whose architecture is told from its tensors; ``timm:NAME`` for
            timm's architecture with ImageNet weights; ``random:NAME``.
        size: side of the films it will be given.
        weights: for ``timm:NAME``: a ``.safetensors`` or ``.pth`` file, or ``hf-hub:owner/model``.
        checkpoint: of a run.

    Films are replicated to the three channels of timm's trunks; a run's trunk keeps the channels that it has. What a
    run enlarged its films to (GLoRIA's 299) is left out: the protocols say what size a trunk is given.

    Raises:
        ConfigError, CheckpointError: there is no such trunk, or its weights cannot be read.
    """
    if _is_of_run(where, weights):
        if weights is not None:
            raise ConfigError(
                "a run has its own weights.", field="--weights", remedy=f"Leave it out, or use {_TIMM}NAME."
            )
        return _trunk_of_run(Path(where), size, checkpoint)
    shown, config = trunk_from_elsewhere(where, size, weights=weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        encoder = ImageEncoder(config)
    return OpenedTrunk(shown, encoder, _hash(encoder))


def trunk_from_elsewhere(where: str, size: int, *, weights: str | None = None) -> tuple[str, ImageEncoderConfig]:
    """What tables call a trunk that is no run's, and its configuration; arguments as of :func:`open_trunk`.

    Raises:
        ConfigError: ``where`` is neither a file nor ``timm:NAME`` nor ``random:NAME``, or the file's architecture
            cannot be told.
    """
    if _is_of_run(where, weights):
        raise ConfigError(
            f"'{where}' is no image encoder.", remedy=f"Give {_TIMM}NAME, {_RANDOM}NAME, or a file of weights."
        )
    if not where.startswith((_TIMM, _RANDOM)):
        where, weights = f"{_TIMM}{architecture_of(Path(where))}", where
    kind, _, name = where.partition(":")
    pretrained = "none" if kind == "random" else weights or "imagenet"
    config = ImageEncoderConfig(
        name=name, pretrained=pretrained, in_channels=3, local_stage=-1, trunk_options=_sized(name, size)
    )
    return f"{name} ({'random' if kind == 'random' else Path(pretrained).name})", config


def _is_of_run(where: str, weights: str | None) -> bool:
    return not where.startswith((_TIMM, _RANDOM)) and (weights is not None or not Path(where).is_file())


def _sized(name: str, size: int) -> dict[str, int | float | bool | str]:
    return {"img_size": size} if any(part in name for part in _SIZED) else {}


def _trunk_of_run(path: Path, size: int, checkpoint: str) -> OpenedTrunk:
    runs = find_runs([path], checkpoint)
    if len(runs) > 1:
        folds = ", ".join(run.path.name for run in runs)
        raise ConfigError(f"holds {len(runs)} runs ({folds}).", file=path, remedy="Give the folder of one of them.")
    (run,) = runs
    trained = JointModel.load(run.path, checkpoint=checkpoint).method.image_encoder
    if not isinstance(trained, ImageEncoder):
        raise ConfigError("has no image encoder.", file=path)
    own = run.model.image_encoder
    changed = {"resize_to": None, "trunk_options": own.trunk_options | _sized(own.name, size)}
    encoder = trainable_encoder(own.model_copy(update=changed), initial_weights=False)
    encoder.trunk.load_state_dict(with_positions_of(encoder.trunk, trained.trunk.state_dict()))
    return OpenedTrunk(f"{run.path.name} ({run.method})", encoder, _hash(encoder), run)


def _hash(encoder: ImageEncoder) -> str:
    digest = hashlib.sha256(encoder.config.model_dump_json().encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
