"""What a transfer trains and tests, and the models that it compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from crossray.data.augment import ImageInputConfig
from crossray.data.chexpert import COMPETITION_LABELS
from crossray.data.split_files import read_split
from crossray.data.splits import Fold
from crossray.data.store import Store
from crossray.data.study import View
from crossray.data.text import TextConfig
from crossray.errors import ConfigError
from crossray.evaluation.finetune import FinetuneConfig
from crossray.evaluation.fold_probes import trunk_floor
from crossray.evaluation.groups import GroupedBy
from crossray.evaluation.joined_films import JoinedFilms
from crossray.evaluation.localized.trunks import trunk_from_elsewhere
from crossray.evaluation.models import FloorModel, RunModel, floor_encoder
from crossray.evaluation.probe import ProbeConfig
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.runs import Run, find_runs
from crossray.evaluation.zero_shot import ZeroShotConfig
from crossray.files import FileEntry
from crossray.settings import Settings

ASKED = ("zero_shot", "retrieval")
"""Tasks that train nothing and ask the run as it is."""


class TransferConfig(Settings):
    """What is trained and how it is tested.

    Attributes:
        labels: the classes; both stores must hold them, by this name or by NIH's. None are needed for retrieval.
        common_labels: those of them that are averaged by themselves.
        tasks: ``probe`` (frozen features, the published default) and ``finetune``; ``zero_shot`` and ``retrieval``
            train nothing and ask the run as it is.
        fraction: share of the training side whose labels are used: patients whole, stratified, 1 % inside 10 %.
        views: the first film of these views stands for a study.
        image: what films are made into without a run; a run says it itself. Empty: the stores' own size.
        groups: scores are also given inside each group of tested studies that tell their view, sex or age, and how
            well features tell the groups and the groups alone tell each label of the tested store.
        probe, finetune, zero_shot: their settings, as in ``crossray evaluate``.
        draws, level, seed: of the bootstrap.
    """

    labels: tuple[str, ...] = COMPETITION_LABELS
    common_labels: tuple[str, ...] = ()
    tasks: tuple[Literal["probe", "finetune", "zero_shot", "retrieval"], ...] = Field(default=("probe",), min_length=1)
    fraction: float = Field(default=1.0, gt=0.0, le=1.0)
    views: tuple[View, ...] = ("frontal",)
    image: ImageInputConfig | None = None
    groups: tuple[GroupedBy, ...] = ("view", "sex", "age")
    zero_shot: ZeroShotConfig = ZeroShotConfig()
    probe: ProbeConfig = ProbeConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    batch_size: int = Field(default=64, ge=1)
    draws: int = Field(default=1000, ge=1)
    level: float = Field(default=0.95, gt=0, lt=1)
    seed: int = 0


@dataclass(frozen=True)
class TransferRequest:
    """A run, trunks from elsewhere beside it or alone, where labels come from (a fold), and where to test."""

    run: Path | None
    train: Path | str
    split: str
    test: Path | str
    out: Path
    fold: str | None = None
    checkpoint: str = "best"
    image_encoders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compared:
    """What is compared.

    Attributes:
        run: ``None`` where trunks from elsewhere stand alone.
        models: the first is held against each other one.
        image: what films are made into.
        text: what is read of a report.
        weights: of trunks from a file, by their name: the path as it was given, and size and hash.
    """

    run: Run | None
    models: Mapping[Evaluated, RunModel | FloorModel]
    image: ImageInputConfig
    text: TextConfig
    weights: Mapping[str, tuple[str, FileEntry]]

    def tested(self, train_store: Store, test_store: Store, fold: Fold) -> tuple[str, ...]:
        """All studies of a store that nobody learned from; else those on the test side of whoever did, in its order."""
        sides = [fold.test] if train_store.hash == test_store.hash else []
        if self.run is not None and self.run.made_from.get("store") == test_store.hash:
            sides.append(read_split(self.run.split).fold(self.run.fold).test)
        first, *others = sides or [tuple(test_store.study_ids)]
        in_all = set(first).intersection(*others)
        return tuple(study for study in first if study in in_all)


def compared(request: TransferRequest, films: JoinedFilms, size: int, config: TransferConfig) -> Compared:
    """The run with its floor, and the trunks from elsewhere.

    Raises:
        ConfigError: there is neither, a task needs a run, a trunk is none, or two have one name.
        CheckpointError: the run cannot be used.
    """
    run = None if request.run is None else find_runs([request.run], request.checkpoint)[0]
    _check(run, request, config)
    models: dict[Evaluated, RunModel | FloorModel] = {}
    image, text = config.image or ImageInputConfig(size=size), TextConfig()
    if run is not None:
        image, text = run.model.image, run.model.text
        models[Evaluated(f"pretrained ({run.method})")] = RunModel(run, films, config.batch_size)
        floor = floor_encoder(run.model.image_encoder)
        models[trunk_floor(run)] = FloorModel(floor, image, films, config.batch_size)
    weights: dict[str, tuple[str, FileEntry]] = {}
    for where in request.image_encoders:
        name, encoder = trunk_from_elsewhere(where, image.size)
        if Evaluated(name) in models:
            raise ConfigError(
                f"two trunks are called '{name}'; a table could not tell them apart.",
                field="--image-encoder",
                remedy="Give each once, and files of the same name other names.",
            )
        models[Evaluated(name)] = FloorModel(encoder, image, films, config.batch_size)
        if Path(where).is_file():
            weights[name] = where, FileEntry.of(Path(where))
    for model in models.values():
        if isinstance(model, FloorModel):
            model.trunk()  # weights that cannot be had are refused now, and not when other trunks have read their films
    return Compared(run, models, image, text, weights)


def _check(run: Run | None, request: TransferRequest, config: TransferConfig) -> None:
    if run is not None and config.image is not None:
        raise ConfigError("the run says what its films look like.", field="image", remedy="Leave it out.")
    if run is not None:
        return
    if not request.image_encoders:
        raise ConfigError("there is nothing to transfer.", remedy="Give the folder of a run, or --image-encoder.")
    asked = [task for task in config.tasks if task in ASKED]
    if asked:
        raise ConfigError(f"a trunk alone reads no text for {asked[0]}.", field="tasks", remedy="Give a run too.")
