"""From a recipe to a trained run: open the data, build tokenizer and model, train, seal the folder."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from crossray.data.block_order import BlockOrder
from crossray.data.pairs import LeftOut, PairDataset, captions_of
from crossray.data.sentence_order import SentenceOrder
from crossray.data.split_files import read_split, rows_of_fold
from crossray.data.store import Store
from crossray.data.verify import open_whole
from crossray.encoders.bert import resolve_text_encoder
from crossray.encoders.image_weights import with_positions_of
from crossray.encoders.tokenizer import ReportTokenizer, build_tokenizer
from crossray.errors import CheckpointError, ConfigError, DataError
from crossray.files import check_fences, sha256_of
from crossray.freed_memory import keep_freed_memory
from crossray.methods.build import build_method
from crossray.ownership import PATIENCE_SECONDS, owned
from crossray.tensor_file import load_weights, read_tensors
from crossray.training.accelerators import require_accelerators
from crossray.training.checkpoint import weights_file
from crossray.training.distributed import started_fabric
from crossray.training.loop import fit
from crossray.training.processes import explained_lost_processes, require_agreement
from crossray.training.recipe import Recipe
from crossray.training.run_folder import (
    TOKENIZER,
    Provenance,
    list_left_out,
    note_inputs,
    open_run,
    seal_run,
    sitting_now,
)
from crossray.training.session import RunSummary, TrainingParts
from crossray.training.validation import Validator

#: The process of before may hang on a host that does not answer: its lock ends with its lease, on NFS after 90 s.
_PATIENCE_AFTER_RESTART_SECONDS = 120.0


@dataclass(frozen=True)
class _Data:
    store: Store
    training: list[str]
    validation: list[str]
    absent: list[LeftOut]
    provenance: Provenance


def pretrain(
    recipe: Recipe, output: Path, *, validator: Validator | None = None, resume: bool = True, profile_steps: int = 0
) -> RunSummary:
    """Train what a recipe says into a run folder, or go on with the run that is there.

    Args:
        recipe: everything the result depends on.
        output: the run's folder. A run of the same recipe in it is resumed; if it is over, nothing is done.
        validator: further validation figures, one of which the recipe may select by.
        resume: False refuses a folder that is there already.
        profile_steps: so many steps are profiled into ``profile/`` of the run; nothing else of it changes.

    Raises:
        ConfigError: the recipe does not fit the data or the machine, or the folder holds a run with another
            configuration.
        DataError, StoreError: the split or the store cannot be used.
        CheckpointError: a checkpoint is damaged, or the disk is full; the previous checkpoint is whole.
        DivergedError: the loss is no longer a number; the message names step and term.
        FolderInUseError: another process trains in the folder.
        FolderTakenError: another process has taken it over while this one did not answer.
        LostProcessError: another process of the run was killed, or cannot be reached any more.
    """
    if not resume and output.exists():
        raise ConfigError("is there already.", file=output, remedy="Choose a new folder, or resume the run.")
    recipe = recipe.model_copy(update={"text_encoder": resolve_text_encoder(recipe.text_encoder)})
    keep_freed_memory()
    require_accelerators(recipe.runtime)
    with (
        started_fabric(recipe.runtime, recipe.training.precision) as fabric,
        explained_lost_processes(fabric, output, recipe.runtime.timeout_seconds),
        _owned(fabric, recipe, output),
    ):
        return _train(fabric, recipe, output, validator, profile_steps)


def _owned(fabric: Fabric, recipe: Recipe, output: Path) -> AbstractContextManager[object]:
    """The run's folder belongs to the first process; the others write nothing."""
    if not fabric.is_global_zero:
        return nullcontext()
    started_again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    # The others wait meanwhile, and are not to give up first.
    patience = min(_PATIENCE_AFTER_RESTART_SECONDS, recipe.runtime.timeout_seconds / 2)
    return owned(output, kind=CheckpointError, patience=patience if started_again else PATIENCE_SECONDS)


def _train(fabric: Fabric, recipe: Recipe, output: Path, validator: Validator | None, profile_steps: int) -> RunSummary:
    # One process of a host hashes the store that all of them read.
    data = _open_data(recipe, check=recipe.runtime.check_store and fabric.local_rank == 0)
    if fabric.is_global_zero:
        open_run(output, recipe, data.provenance, sitting_now(fabric.device, fabric.world_size))
        _keep_tokenizer(recipe, data, output / TOKENIZER)
        note_inputs(output)
    fabric.barrier()
    identity = data.provenance.identity(recipe)
    require_agreement(fabric, output, identity)
    tokenizer = ReportTokenizer.load(output / TOKENIZER).with_truncation(recipe.text_encoder.truncation)
    parts = _build_parts(recipe, data, tokenizer)
    if fabric.is_global_zero:
        list_left_out(output, [*data.absent, *parts.training.left_out, *parts.validation.left_out])
    summary = fit(
        fabric,
        parts,
        recipe.training,
        recipe.runtime,
        output,
        identity=identity,
        validator=validator,
        profile_steps=profile_steps,
    )
    if summary.outcome != "interrupted" and fabric.is_global_zero:
        seal_run(output, summary.outcome)
    fabric.barrier()
    return summary


def _open_data(recipe: Recipe, *, check: bool) -> _Data:
    place, streaming = recipe.data.store, recipe.runtime.streaming
    store = open_whole(place, streaming) if check else Store.open(place, streaming=streaming)
    initial = recipe.training.initial_weights
    split = read_split(recipe.data.split)
    fold = split.fold(recipe.data.fold)
    rows = rows_of_fold(fold, store)
    if not len(rows.validation):
        raise DataError(
            f"fold '{fold.name}' of split '{split.protocol}' has no validation side: nothing could select weights.",
            field="data.fold",
        )
    return _Data(
        store=store,
        training=[store.study_ids[row] for row in rows.train],
        validation=[store.study_ids[row] for row in rows.validation],
        absent=[LeftOut(study_id, "not in the store") for study_id in rows.absent if study_id not in fold.test],
        provenance=Provenance(
            store=store.hash,
            split=split.hash,
            prepared_size=store.prepared_size,
            initial_weights=None if initial is None else sha256_of(weights_file(initial)),
        ),
    )


def _keep_tokenizer(recipe: Recipe, data: _Data, folder: Path) -> None:
    """The run's tokenizer: that of the run it starts from, or the one its text encoder asks for.

    A vocabulary is learned from the training side alone, whole reports even where sentences are shown.
    """
    if folder.is_dir():
        return
    source = _initial_run(recipe)
    temporary = folder.with_name(f".{folder.name}.tmp")
    if source is not None:
        shutil.copytree(source / TOKENIZER, temporary, dirs_exist_ok=True)
    else:
        reports = (data.store.report(data.store.index_of(study_id)) for study_id in data.training)
        texts = (caption.text for report in reports for caption in captions_of(report, recipe.text, "report"))
        build_tokenizer(recipe.text_encoder, texts).save(temporary)
    check_fences(folder)
    temporary.replace(folder)


def _build_parts(recipe: Recipe, data: _Data, tokenizer: ReportTokenizer) -> TrainingParts:
    torch.manual_seed(recipe.training.seed)
    method = build_method(
        recipe.image_encoder, recipe.text_encoder, recipe.method, tokenizer, label_names=data.store.label_names
    )
    source = recipe.training.initial_weights
    if source is not None:
        path = weights_file(source)
        encoder: Any = method.image_encoder
        weights = with_positions_of(encoder.trunk, read_tensors(path)[0], "image_encoder.trunk.")
        load_weights(method, weights, path)
    training = _pairs(recipe, data, data.training, tokenizer, recipe.training.sentence_order)
    return TrainingParts(
        method=method,
        training=training,
        validation=_pairs(recipe, data, data.validation, tokenizer, "original"),
        image=recipe.image,
        order=_order(recipe, data.store, training),
    )


def _order(recipe: Recipe, store: Store, training: PairDataset) -> BlockOrder | None:
    """How an epoch goes through the pairs; refuses a cache that is too small for it."""
    order = None if recipe.data.order is None else BlockOrder(recipe.data.order, training.blocks)
    if store.streamed is not None:
        store.streamed.require_room(len(np.unique(training.blocks)) if order is None else order.blocks_at_hand)
    return order


def _pairs(
    recipe: Recipe, data: _Data, study_ids: list[str], tokenizer: ReportTokenizer, order: SentenceOrder
) -> PairDataset:
    return PairDataset(
        data.store,
        study_ids,
        tokenizer,
        recipe.text,
        views=recipe.data.views,
        film_choice=recipe.data.film_choice,
        caption=recipe.training.caption,
        sentence_order=order,
        seed=recipe.training.seed,
    )


def _initial_run(recipe: Recipe) -> Path | None:
    source = recipe.training.initial_weights
    return Path(source) if source is not None and (Path(source) / TOKENIZER).is_dir() else None
