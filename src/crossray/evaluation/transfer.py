"""Train a classifier on one store's labels, test it on another's studies: the second reading of the target paper.

Spec: `global_local`, reading R2 (section 6.1): a pretrained checkpoint, a classifier trained on CheXpert or CheXphoto
labels, tested on IU-RR. Any two stores of one prepared size will do. Films that the run was pretrained on are never
tested on: of its own store, only the test side of its fold is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossray.data.chexpert import COMPETITION_LABELS
from crossray.data.split_files import read_split
from crossray.data.splits import Fold, SplitList, nested_fractions
from crossray.data.store import Store
from crossray.data.study import View
from crossray.data.verify import open_whole
from crossray.errors import ConfigError
from crossray.evaluation.cells import Arrays
from crossray.evaluation.cohort import Cohort, Part, names_in, part_of, tested_hash
from crossray.evaluation.confounding import confounding_rows, write_confounding
from crossray.evaluation.finetune import FinetuneConfig, Progress
from crossray.evaluation.fold_probes import trunk_floor
from crossray.evaluation.groups import Group, GroupedBy, GroupRow, group_rows, groups_of, write_groups
from crossray.evaluation.joined_films import JoinedFilms
from crossray.evaluation.localized.trunks import trunk_from_elsewhere
from crossray.evaluation.models import FloorModel, RunModel, floor_encoder
from crossray.evaluation.probe import ProbeConfig
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.result_files import seal_results
from crossray.evaluation.results import Provenance, Results, Row, command_line, write_results
from crossray.evaluation.retrieval_task import fold_ranks, galleries_of, ranked
from crossray.evaluation.rows import Evaluated, classification_rows, retrieval_rows
from crossray.evaluation.runs import Run, find_runs
from crossray.evaluation.tasks import finetune_task, fold_scores, probe_task, zero_shot_task
from crossray.evaluation.zero_shot import ZeroShotConfig
from crossray.settings import Settings
from crossray.versions import now, versions

_Models = Mapping[Evaluated, RunModel | FloorModel]


class TransferConfig(Settings):
    """What is trained and how it is tested.

    Attributes:
        labels: the classes; both stores must hold them, by this name or by NIH's. None are needed for retrieval.
        common_labels: those of them that are averaged by themselves.
        tasks: ``probe`` (frozen features, the published default) and ``finetune``; ``zero_shot`` and ``retrieval``
            train nothing and ask the run as it is.
        fraction: share of the training side whose labels are used: patients whole, stratified, 1 % inside 10 %.
        views: the first film of these views stands for a study.
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
    """A run and trunks from elsewhere beside it, where labels come from (a fold of a split), and where to test."""

    run: Path
    train: Path
    split: str
    test: Path
    out: Path
    fold: str | None = None
    checkpoint: str = "best"
    image_encoders: tuple[str, ...] = ()


def transfer(request: TransferRequest, config: TransferConfig, progress: Progress | None = None) -> Results:
    """Train on one store, test on the other, write ``results.*``, ``groups.*`` and ``confounding.*``.

    Raises:
        ConfigError: a label is missing, or sizes differ.
        CheckpointError, StoreError, DataError: run, stores or split cannot be used.
    """
    run = find_runs([request.run], request.checkpoint)[0]
    train_store, test_store = open_whole(request.train), open_whole(request.test)
    split = read_split(request.split)
    fold = split.fold(request.fold or split.folds[0].name)
    films = JoinedFilms(train_store, test_store)
    tested = _tested_studies(run, test_store)
    cohort = _cohort(run, train_store, test_store, fold, tested, films.offset, config)
    protocol = _protocol(train_store, test_store, config)
    models = _models(run, request.image_encoders, films, config)
    # Told apart by a probe and asked what else they hold: features of the tested films are computed once.
    features = {who: model.features(cohort.test.films) for who, model in models.items() if "probe" in config.tasks}
    scores = _scores(run, models, features, films, cohort, config, progress or _silent)
    rows = [row for task, found in scores.items() for row in _rows(task, found, protocol)]
    results = Results(
        provenance=_provenance(run, train_store, test_store, split, fold, cohort, protocol, config), rows=tuple(rows)
    )
    write_results(results, request.out)
    groups = groups_of(test_store, cohort.test.studies, config.groups)
    inside = [row for task, found in scores.items() for row in _group_rows(task, found, groups, protocol)]
    if inside:
        write_groups(inside, request.out)
    if groups and features:
        told = confounding_rows(features, test_store, cohort.test, groups, protocol, config.probe)
        write_confounding(told, request.out)
    seal_results(request.out)
    return results


def _group_rows(
    task: str, found: Mapping[Evaluated, Arrays], groups: Sequence[Group], protocol: Protocol
) -> list[GroupRow]:
    if task == "retrieval":
        return []
    return group_rows(task, {who: fold_scores("all", cell) for who, cell in found.items()}, groups, protocol)


def _rows(task: str, found: Mapping[Evaluated, Arrays], protocol: Protocol) -> list[Row]:
    ours = next(iter(found))
    if task == "retrieval":
        ranks = {who: fold_ranks("all", cell) for who, cell in found.items()}
        return retrieval_rows(
            {who: {name: [own] for name, own in by.items()} for who, by in ranks.items()}, [], protocol
        )
    scores = {who: fold_scores("all", cell) for who, cell in found.items()}
    differences = [(ours, other) for other in found if other != ours]
    return classification_rows(task, {who: [own] for who, own in scores.items()}, differences, protocol)


def _tested_studies(run: Run, store: Store) -> tuple[str, ...]:
    """All studies of a store that is new to the run; of the one it was pretrained on, the test side of its fold."""
    if run.made_from.get("store") != store.hash:
        return tuple(store.study_ids)
    return read_split(run.split).fold(run.fold).test


def _cohort(
    run: Run,
    train_store: Store,
    test_store: Store,
    fold: Fold,
    tested: Sequence[str],
    offset: int,
    config: TransferConfig,
) -> Cohort:
    left_out: list[str] = []
    with_text = "retrieval" in config.tasks

    def part(store: Store, ids: Sequence[str], shift: int) -> Part:
        names = names_in(store, config.labels)
        return part_of(store, ids, names, config.views, run.model.text, left_out, needs_text=with_text, shift=shift)

    return Cohort(
        fold.name,
        train=part(train_store, _fraction(train_store, fold.train, config), 0),
        validation=part(train_store, fold.validation, 0),
        test=part(test_store, tested, offset),
        left_out=tuple(left_out),
    )


def _fraction(store: Store, ids: Sequence[str], config: TransferConfig) -> tuple[str, ...]:
    """The share of the training side that is used; the published shares are always drawn, so that they nest."""
    if config.fraction == 1.0:
        return tuple(ids)
    rows = [store.index_of(study_id) for study_id in ids]
    nested = nested_fractions(
        ids,
        sorted({0.01, 0.1, config.fraction}),
        config.seed,
        patient_ids=[store.patient_ids[row] for row in rows],
        labels=store.labels[np.ix_(rows, [store.label_names.index(name) for name in names_in(store, config.labels)])],
    )
    return nested[config.fraction]


def _models(run: Run, elsewhere: Sequence[str], films: JoinedFilms, config: TransferConfig) -> _Models:
    image = run.model.image
    others = {trunk_floor(run): floor_encoder(run.model.image_encoder)}
    for where in elsewhere:
        name, encoder = trunk_from_elsewhere(where, image.size)
        others[Evaluated(name)] = encoder
    return {
        Evaluated(f"pretrained ({run.method})"): RunModel(run, films, config.batch_size),
        **{who: FloorModel(encoder, image, films, config.batch_size) for who, encoder in others.items()},
    }


def _scores(
    run: Run,
    models: _Models,
    tested: Mapping[Evaluated, NDArray[np.float32]],
    films: JoinedFilms,
    cohort: Cohort,
    config: TransferConfig,
    say: Progress,
) -> dict[str, Mapping[Evaluated, Arrays]]:
    found: dict[str, Mapping[Evaluated, Arrays]] = {}
    ours, asked = next(iter(models.items()))
    for task in config.tasks:
        if task in ("zero_shot", "retrieval"):
            say(f"{task}: {ours.model}")
            assert isinstance(asked, RunModel)  # the first
            found[task] = {ours: _asked(task, asked, cohort, config)}
            continue
        cells: dict[Evaluated, Arrays] = {}
        for who, model in models.items():
            say(f"{task}: {who.model}")
            if task == "probe":
                learned = [model.features(part.films) for part in (cohort.train, cohort.validation)]
                cells[who] = probe_task([*learned, tested[who]], cohort, config.probe)
            else:
                cells[who] = finetune_task(model, films, run.model.image, cohort, config.finetune, say)
        found[task] = cells
    return found


def _asked(task: str, model: RunModel, cohort: Cohort, config: TransferConfig) -> Arrays:
    """What the run says of the tested studies as it is."""
    if not model.joint.method.reads_reports:
        raise ConfigError(f"{model.joint.method.name} reads no reports.", field="tasks", remedy=f"Leave out {task}.")
    if task == "retrieval":
        return ranked(galleries_of(model, cohort.test)["fused"], cohort.test)
    return zero_shot_task(model, cohort, config.labels, config.zero_shot)[config.zero_shot.name]


def _protocol(train: Store, test: Store, config: TransferConfig) -> Protocol:
    return Protocol(
        id=f"transfer-{train.manifest.inputs.source}-to-{test.manifest.inputs.source}",
        labels=config.labels,
        common_labels=config.common_labels,
        views=config.views,
        draws=config.draws,
        level=config.level,
        seed=config.seed,
    )


def _provenance(
    run: Run,
    train: Store,
    test: Store,
    split: SplitList,
    fold: Fold,
    cohort: Cohort,
    protocol: Protocol,
    config: TransferConfig,
) -> Provenance:
    trained_on = f"{train.manifest.inputs.source}, store {train.hash[:16]}"
    return Provenance(
        protocol=protocol.id,
        preset=protocol.preset,
        split_protocol=split.protocol,
        split_hash=split.hash,
        store_hash=test.hash,
        source=test.manifest.inputs.source,
        folds=(fold.name,),
        runs={fold.name: f"{run.path.name}, weights {run.weights_hash[:16]}"},
        seeds={"bootstrap": config.seed, "fine-tuning": config.finetune.seed, "training": run.seed},
        draws=config.draws,
        level=config.level,
        studies=len(cohort.test),
        tested=tested_hash({fold.name: cohort.test}),
        left_out=cohort.left_out,
        labels=config.labels,
        common_labels=config.common_labels,
        choices={
            "training labels": f"{len(cohort.train)} studies of {trained_on}",
            "selection": "C and the epoch are chosen on the training store's validation side",
            "tested": "every study of a store new to the run; of the run's own store, its fold's test side",
        },
        settings=config.model_dump(mode="json"),
        command=command_line(),
        versions=versions(),
        date=now(),
    )


def _silent(line: str) -> None:
    pass
