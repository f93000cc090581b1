"""Train a classifier on one store's labels, test it on another's studies: the second reading of the target paper.

Spec: `global_local`, reading R2 (section 6.1): a pretrained checkpoint, a classifier trained on CheXpert or CheXphoto
labels, tested on IU-RR. Any two stores of one prepared size will do, and trunks from elsewhere serve without a run.
Films that the run was pretrained on, or the classifier trained on, are never tested on: of such a store only the test
side of the fold is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crossray.data.split_files import read_split
from crossray.data.splits import Fold, SplitList, nested_fractions
from crossray.data.store import Store
from crossray.data.verify import open_whole
from crossray.errors import ConfigError
from crossray.evaluation.cells import Arrays
from crossray.evaluation.cohort import Cohort, Part, labels_in_all, names_in, part_of, tested_hash
from crossray.evaluation.confounding import confounding_rows, write_confounding
from crossray.evaluation.finetune import Progress
from crossray.evaluation.groups import Group, GroupRow, group_rows, groups_of, write_groups
from crossray.evaluation.joined_films import JoinedFilms
from crossray.evaluation.models import RunModel
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.result_files import seal_results
from crossray.evaluation.results import Provenance, Results, Row, command_line, write_results
from crossray.evaluation.retrieval_task import fold_ranks, galleries_of, ranked
from crossray.evaluation.rows import Evaluated, classification_rows, retrieval_rows
from crossray.evaluation.tasks import finetune_task, fold_scores, probe_task, zero_shot_task
from crossray.evaluation.transfer_config import ASKED, Compared, TransferConfig, TransferRequest, compared
from crossray.inference.run_files import stream_settings
from crossray.ownership import owned
from crossray.versions import now, versions


def transfer(request: TransferRequest, config: TransferConfig, progress: Progress | None = None) -> Results:
    """Train on one store, test on the other, write ``results.*``, ``groups.*`` and ``confounding.*``.

    Raises:
        ConfigError: a label is missing, sizes differ, or there is neither a run nor a trunk.
        CheckpointError, StoreError, DataError: run, stores or split cannot be used.
        FolderInUseError, FolderTakenError: another process writes to ``request.out``.
    """
    with owned(request.out):
        return _transfer(request, config, progress or _silent)


def _transfer(request: TransferRequest, config: TransferConfig, say: Progress) -> Results:
    streaming = stream_settings(request.run)
    train_store, test_store = open_whole(request.train, streaming), open_whole(request.test, streaming)
    split = read_split(request.split)
    fold = split.fold(request.fold or split.folds[0].name)
    _check_labels(config, (train_store, test_store))
    films = JoinedFilms(train_store, test_store)
    whom = compared(request, films, test_store.prepared_size, config)
    cohort = _cohort(whom, train_store, test_store, fold, films.offset, config)
    protocol = _protocol(train_store, test_store, config)
    # Told apart by a probe and asked what else they hold: features of the tested films are computed once.
    features = {who: model.features(cohort.test.films) for who, model in whom.models.items() if "probe" in config.tasks}
    scores = _scores(whom, features, films, cohort, config, say)
    rows = [row for task, found in scores.items() for row in _rows(task, found, protocol)]
    results = Results(
        provenance=_provenance(whom, train_store, test_store, split, fold, cohort, protocol, config),
        rows=tuple(rows),
    )
    write_results(results, request.out)
    groups = groups_of(test_store, cohort.test.studies, config.groups)
    inside = [row for task, found in scores.items() for row in _group_rows(task, found, groups, protocol)]
    if inside:
        write_groups(inside, request.out)
    if groups and features:
        told = confounding_rows(features, test_store, cohort.test, groups, protocol, config.probe)
        write_confounding(told, request.out)
    seal_results(request.out, dict(whom.weights.values()))
    return results


def _check_labels(config: TransferConfig, stores: Sequence[Store]) -> None:
    try:
        for store in stores:
            names_in(store, config.labels)
    except ConfigError as error:
        common = ",".join(labels_in_all(stores))
        remedy = f"Of what both stores hold: --set labels=[{common}]." if common else "The stores share no label."
        raise ConfigError(error.problem, field="labels", remedy=f"{error.remedy} {remedy}") from error


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


def _cohort(
    whom: Compared,
    train_store: Store,
    test_store: Store,
    fold: Fold,
    offset: int,
    config: TransferConfig,
) -> Cohort:
    left_out: list[str] = []
    with_text = "retrieval" in config.tasks

    def part(store: Store, ids: Sequence[str], shift: int) -> Part:
        names = names_in(store, config.labels)
        return part_of(store, ids, names, config.views, whom.text, left_out, needs_text=with_text, shift=shift)

    return Cohort(
        fold.name,
        train=part(train_store, _fraction(train_store, fold.train, config), 0),
        validation=part(train_store, fold.validation, 0),
        test=part(test_store, whom.tested(train_store, test_store, fold), offset),
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


def _scores(
    whom: Compared,
    tested: Mapping[Evaluated, NDArray[np.float32]],
    films: JoinedFilms,
    cohort: Cohort,
    config: TransferConfig,
    say: Progress,
) -> dict[str, Mapping[Evaluated, Arrays]]:
    found: dict[str, Mapping[Evaluated, Arrays]] = {}
    ours, asked = next(iter(whom.models.items()))
    for task in config.tasks:
        if task in ASKED:
            say(f"{task}: {ours.model}")
            assert isinstance(asked, RunModel)  # the first
            found[task] = {ours: _asked(task, asked, cohort, config)}
            continue
        cells: dict[Evaluated, Arrays] = {}
        for who, model in whom.models.items():
            say(f"{task}: {who.model}")
            if task == "probe":
                learned = [model.features(part.films) for part in (cohort.train, cohort.validation)]
                cells[who] = probe_task([*learned, tested[who]], cohort, config.probe)
            else:
                cells[who] = finetune_task(model, films, whom.image, cohort, config.finetune, say)
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
    whom: Compared,
    train: Store,
    test: Store,
    split: SplitList,
    fold: Fold,
    cohort: Cohort,
    protocol: Protocol,
    config: TransferConfig,
) -> Provenance:
    run = whom.run
    trained_on = f"{train.manifest.inputs.source}, store {train.hash[:16]}"
    return Provenance(
        protocol=protocol.id,
        preset=protocol.preset,
        split_protocol=split.protocol,
        split_hash=split.hash,
        store_hash=test.hash,
        source=test.manifest.inputs.source,
        folds=(fold.name,),
        runs={} if run is None else {fold.name: f"{run.path.name}, weights {run.weights_hash[:16]}"},
        seeds={
            "bootstrap": config.seed,
            "fine-tuning": config.finetune.seed,
            **({} if run is None else {"training": run.seed}),
        },
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
            **{f"weights of {name}": f"sha256 {entry.sha256}" for name, (_, entry) in whom.weights.items()},
            **(config.finetune.choices if "finetune" in config.tasks else {}),
            "tested": "every study of a store that nobody learned from; of others, the fold's test side",
        },
        settings=config.model_dump(mode="json"),
        command=command_line(),
        versions=versions(),
        date=now(),
    )


def _silent(line: str) -> None:
    pass
