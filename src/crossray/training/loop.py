"""The training loop: epochs of steps, a validation after each, the best weights kept, everything resumable.

Reads from top to bottom: :func:`fit`, an epoch, a step, the end of an epoch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from lightning_fabric import Fabric

from crossray.data.batch import PairBatch
from crossray.data.pairs import pair_loader, to_pair_batch
from crossray.data.sampling import GlobalBatchSampler
from crossray.inference.run_files import CHECKPOINTS
from crossray.methods.base import Method
from crossray.training.clipping import clip_gradients, require_finite_norm
from crossray.training.config import RuntimeConfig, TrainingConfig
from crossray.training.distributed import average_gradients, gather_of, share_state, vote
from crossray.training.gradient_cache import caching_deviation, has_live_batch_norm
from crossray.training.logs import RunLog, keep_metrics_up_to
from crossray.training.optimizers import set_learning_rates
from crossray.training.profiling import StepProfiler, span
from crossray.training.session import RunSummary, Session, TrainingParts, epoch_steps, summary_of
from crossray.training.sharding import share_out
from crossray.training.signals import StopSignals
from crossray.training.state import STATE_FILE, TrainingState
from crossray.training.step import backward_step, encode, seed_step
from crossray.training.timeline import Timeline, plan_run
from crossray.training.validation import ValidationSet, Validator, validate, validator_for


def fit(
    fabric: Fabric,
    parts: TrainingParts,
    config: TrainingConfig,
    runtime: RuntimeConfig,
    folder: Path,
    *,
    identity: str,
    validator: Validator | None = None,
    profile_steps: int = 0,
) -> RunSummary:
    """Train until the epochs are over, nothing improves any more, or a signal asks to stop.

    Args:
        fabric: launched.
        parts: model and data.
        config: how to train.
        runtime: how to carry it out.
        folder: the run; ``checkpoints/state.safetensors`` in it is gone on from.
        identity: a hash of all that must be the same in a resumed run.
        validator: further validation figures.
        profile_steps: so many steps are profiled into ``profile/`` (by the first process).

    Raises:
        ConfigError: batch size, split and processes do not fit together, or the selection metric is unknown.
        DivergedError: the loss is no longer a number.
        CheckpointError: a checkpoint is damaged, of another run, or cannot be written.
        DataError: a worker process that reads the data was killed.
    """
    validator = validator_for(parts.method, config, validator)
    steps = epoch_steps(len(parts.training), parts.method, config, fabric.world_size)
    timeline = plan_run(parts.method, config, steps)
    _place(fabric, parts.method, runtime)
    state = _start_or_resume(fabric, parts.method, config, timeline, folder, identity)
    writes = fabric.is_global_zero
    log = RunLog(folder, runtime, total_steps=timeline.total_steps, step=state.place.step, writes=writes)
    parts.method.train()
    with StopSignals() as stop, log:
        session = Session(fabric, parts, config, runtime, folder, identity, gather_of(fabric), log, stop, timeline)
        session.saved = time.monotonic()
        with _profiled(session, profile_steps if writes else 0):
            while state.place.finished is None and _train_epoch(session, state):
                _end_epoch(session, state, validator)
    return summary_of(session, state)


def _place(fabric: Fabric, method: Method, runtime: RuntimeConfig) -> None:
    # In place. Fabric's own wrapper is not needed: precision and gradients of several processes are dealt with here.
    fabric.strategy.precision.convert_module(fabric.to_device(method))
    if runtime.strategy == "fsdp":
        share_state(method, fabric.world_size)
        share_out(method, fabric.device, fabric.world_size)


@contextmanager
def _profiled(session: Session, steps: int) -> Iterator[None]:
    """Profile so many steps of what is trained inside; none is the plain loop."""
    if not steps:
        yield
        return
    pairs, device = session.config.batch_size, session.fabric.device
    with StepProfiler(
        session.parts.method, session.folder, steps=steps, pairs=pairs, device=device, say=session.log.say
    ) as session.profiler:
        yield


def _start_or_resume(
    fabric: Fabric, method: Method, config: TrainingConfig, timeline: Timeline, folder: Path, identity: str
) -> TrainingState:
    """The saved state, or the one before the first step; log lines beyond it are taken back."""
    if (folder / CHECKPOINTS / STATE_FILE).is_file():
        state = TrainingState.resume(method, config, timeline, folder / CHECKPOINTS, fabric, identity)
    else:
        state = TrainingState.start(method, config, timeline.stages[0])
        share_state(method, fabric.world_size)
    if fabric.is_global_zero:
        keep_metrics_up_to(folder, state.place.step)
    return state


def _train_epoch(session: Session, state: TrainingState) -> bool:
    """The steps of an epoch from ``place.batch`` on; False if a signal asked to stop (the state is saved)."""
    session.clock = time.monotonic()
    untold = state.place.step == 0
    for batch in _training_batches(session, state):
        if untold and batch.task is None:
            _warn_of_live_batch_norm(session, state, batch)
            untold = False
        stopping, late = _train_step(session, state, batch)
        every = session.runtime.checkpoint_every_steps
        if stopping or late or (every is not None and state.place.step % every == 0):
            _save(session, state)
        if session.profiler is not None:
            session.profiler.step()
        if stopping:
            return False
    return True


def _training_batches(session: Session, state: TrainingState) -> Iterator[PairBatch]:
    config, fabric = session.config, session.fabric
    sampler = GlobalBatchSampler(
        len(session.parts.training),
        config.batch_size,
        training=True,
        tasks=state.method.auxiliary_tasks,
        seed=config.seed,
        epoch=state.place.epoch,
        start=state.place.batch,
        rank=fabric.global_rank,
        world=fabric.world_size,
        order=session.parts.order,
    )
    on_gpu = fabric.device.type == "cuda"
    dtype = torch.float64 if config.precision == "64-true" else torch.float32
    views = state.method.image_views
    loaded = pair_loader(session.parts.training, sampler, workers=session.runtime.workers, pin_memory=on_gpu)
    while True:
        with span("data wait"):
            raw = next(loaded, None)
        if raw is None:
            return
        with span("augmentation"):
            batch = to_pair_batch(raw, session.parts.image, fabric.device, seed=config.seed, dtype=dtype, views=views)
        yield batch


def _train_step(session: Session, state: TrainingState, batch: PairBatch) -> tuple[bool, bool]:
    """Forward, backward, average, clip, update, log; whether some process was asked to stop, and has to save."""
    config, fabric, place = session.config, session.fabric, state.place
    seed_step(config.seed, place.step, fabric.global_rank)
    state.method.before_step(place.epoch)
    factor = state.schedule.factor(place.stage_step)
    set_learning_rates(state.optimizer, factor)
    state.optimizer.zero_grad(set_to_none=True)
    losses = backward_step(fabric, state.method, batch, session.gather, config)
    if fabric.world_size > 1:
        with span("averaging gradients"):
            average_gradients(state.method.parameters(), fabric.world_size)
    with span("optimiser"):
        norm = clip_gradients(fabric, state.method, state.optimizer, config) if config.clip_norm is not None else None
    votes = vote(_wishes(session), fabric)
    with span("reading the losses"):
        values = losses.read(place.step + 1, [*([] if norm is None else [norm]), *votes])
    figures = {f"loss/{name}": value for name, value in values.terms.items()}
    if batch.task is None:  # the curve of one objective
        figures["loss"] = values.total
    if norm is not None:
        require_finite_norm(values.others[0], config, step=place.step + 1)
        figures["gradient_norm"] = values.others[0]
    with span("optimiser"):
        fabric.strategy.optimizer_step(state.optimizer)
        state.method.after_step()
        if state.average is not None:
            state.average.update()
    place.step += 1
    place.stage_step += 1
    place.batch += 1
    session.count_step()
    figures |= {"learning_rate": state.stage.optimizer.learning_rate * factor, "pairs_per_second": session.speed}
    if place.step % session.runtime.log_every_steps == 0 or place.batch == session.timeline.steps_of(place.epoch):
        session.log.record("train", step=place.step, epoch=place.epoch + 1, stage=state.stage.name, figures=figures)
    session.log.advance(epoch=place.epoch + 1, epochs=config.epochs, loss=values.total, pairs_per_second=session.speed)
    stopping, late = (number > 0 for number in values.others[-len(votes) :]) if votes else _wishes(session)
    return stopping, late


def _end_epoch(session: Session, state: TrainingState, validator: Validator | None) -> None:
    """Validate, keep the best weights, tell the schedule, decide whether to go on, save."""
    config, place = session.config, state.place
    place.epoch, place.batch = place.epoch + 1, 0
    last = place.epoch == state.stage.end_epoch
    if place.epoch % config.validate_every_epochs == 0 or last:
        figures = _validate(session, state, validator)
        session.log.record("validation", step=place.step, epoch=place.epoch, stage=state.stage.name, figures=figures)
        value = figures[config.selection.metric]
        state.schedule.observe(value if config.selection.goal == "min" else -value)
        if place.note(value, config.selection):
            state.write_weights(session.folder / CHECKPOINTS / "best.safetensors", session.fabric, figures)
        patience = config.selection.patience
        if last or (patience is not None and place.waited >= patience):
            _end_stage(session, state, figures)
    _save(session, state)


def _end_stage(session: Session, state: TrainingState, figures: Mapping[str, float]) -> None:
    """Keep the weights as they are now; begin the next stage or, after the last one, say how the run ended."""
    place, following = state.place, session.timeline.after(state.stage)
    name = "last" if following is None else f"stage-{state.stage.name}"
    state.write_weights(session.folder / CHECKPOINTS / f"{name}.safetensors", session.fabric, figures)
    if following is None:
        place.finished = "finished" if place.epoch == state.stage.end_epoch else "stopped early"
        return
    state.enter(following, session.config)
    share_state(state.method, session.fabric.world_size)  # what a stage draws anew is the same everywhere


def _validate(session: Session, state: TrainingState, validator: Validator | None) -> dict[str, float]:
    parts, config = session.parts, session.config
    data = ValidationSet(
        parts.validation, parts.image, config.contrasted, session.runtime.workers, state.method.image_views
    )
    averaged = nullcontext() if state.average is None else state.average.in_place()
    with span("validation"), averaged:
        return validate(session.fabric, state.method, data, validator, config)


def _wishes(session: Session) -> tuple[bool, bool]:
    """Whether this process was asked to stop, and whether it last saved too long ago: its own signals and clock.

    All processes have to do the same, so they vote.
    """
    seconds = session.runtime.checkpoint_every_seconds
    late = seconds is not None and time.monotonic() - session.saved >= seconds
    return session.stop.received is not None, late


def _save(session: Session, state: TrainingState) -> None:
    with span("saving"):
        state.save(session.folder / CHECKPOINTS, session.fabric, session.identity)
    session.saved = time.monotonic()


def _warn_of_live_batch_norm(session: Session, state: TrainingState, batch: PairBatch) -> None:
    """With gradient caching and live batch norm, measure on one micro-batch what it costs, and say so."""
    config = session.config
    if config.accumulation != "cached" or not has_live_batch_norm(state.method):
        return
    piece = batch.micro_batches(config.micro_batch or len(batch))[0]

    def compare(features: dict[str, torch.Tensor]) -> torch.Tensor:
        total = state.method.losses(features, session.gather).total
        total.backward()  # type: ignore[no-untyped-call]  # torch ships no types for it
        return total.detach()

    of_loss, of_gradient = caching_deviation(
        state.method, piece, lambda part: encode(session.fabric, state.method, part), compare
    )
    session.log.say(
        "warning: gradient caching with live batch norm is not the gradient of the whole batch: each micro-batch has "
        f"statistics of its own. Measured on one micro-batch cut in two: loss off by {of_loss:.2%}, gradient by "
        f"{of_gradient:.2%}. Set image_encoder.batch_norm to frozen for exact caching."
    )
