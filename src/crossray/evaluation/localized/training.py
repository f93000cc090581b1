"""Training of one head (and, in fine-tuning, its trunk) on one task: the loop of the localized protocols.

Spec: ``localized_evaluation``, section 2; ``downstream_protocols``, 8.1. A plateau schedule on the validation loss or
a rate by step, the epoch chosen and training ended by the validation metric. Everything random comes from (seed, epoch,
film): the same seed gives the same weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from crossray.data.randomness import Purpose, derived_generator
from crossray.errors import ConfigError
from crossray.evaluation.heads.maps import FeatureMaps
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.config import LocalizedConfig, batches_per_epoch
from crossray.evaluation.localized.model import LocalizedModel, evaluate_localized
from crossray.evaluation.localized.parts import LocalizedPart
from crossray.evaluation.localized.scorers import Scorer
from crossray.evaluation.localized.tasks import LocalizedTask
from crossray.evaluation.localized.watch import EpochRecord, Watch

TargetT = TypeVar("TargetT")
PredictionT = TypeVar("PredictionT")

Progress = Callable[[EpochRecord], None]


@dataclass(frozen=True)
class LocalizedResult:
    """A finished run.

    Attributes:
        model: with the weights of the best epoch, in evaluation mode.
        best: the epoch that was chosen.
        history: every epoch after which validation was looked at; training stopped after the last.
    """

    model: LocalizedModel
    best: EpochRecord
    history: tuple[EpochRecord, ...]


def train_localized(
    trunk: MapTrunk,
    make_head: Callable[[], nn.Module],
    task: LocalizedTask[TargetT, PredictionT],
    train: LocalizedPart[TargetT],
    validation: LocalizedPart[TargetT],
    scorer: Callable[[], Scorer[PredictionT, TargetT]],
    config: LocalizedConfig,
    progress: Progress | None = None,
) -> LocalizedResult:
    """Train a fresh head on a trunk.

    Args:
        trunk: ``config.trunk: frozen`` uses it as it is, and leaves it frozen and bit-identical (E10); the others
            train a copy, or part of it.
        make_head: called once, under the run's seed.
        task: loss and prediction.
        train, validation: films; with a frozen trunk their inputs may be maps that were made before.
        scorer: makes the validation metric, afresh for every epoch.
        config: the schedule; a clamped cosine ends the training with its last step, in the middle of an epoch too.
        progress: called after each look at validation.

    Raises:
        ConfigError: fewer training films than a batch, a trunk that should learn is given maps, or it has fewer stages
            than should learn.
    """
    config = config.of_films(len(train))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        trunk = copy.deepcopy(trunk) if config.trunk_learns else trunk.freeze()
        if config.last_stages is not None:
            trunk.encoder.learn_last(config.last_stages)
        model = LocalizedModel(trunk, make_head())
        watch, loop = Watch(config), _Loop(model, config)
        best: dict[str, Tensor] = {}
        while not watch.is_over:
            loop.run_epoch(task, train, watch)
            if not watch.looks_next:
                watch.pass_over()
                continue
            measured = evaluate_localized(model, task, validation, scorer, config.batch_size)
            if watch.observe(measured.loss, measured.metric):
                best = {name: value.clone() for name, value in _learnt(model, config).state_dict().items()}
            if progress is not None:
                progress(watch.history[-1])
    _learnt(model, config).load_state_dict(best)
    return LocalizedResult(model.eval(), watch.best, tuple(watch.history))


def film_order(films: int, config: LocalizedConfig, epoch: int) -> Tensor:
    """``[films]`` the order of an epoch (from 0), from the seed alone."""
    return torch.from_numpy(derived_generator(config.seed, epoch, Purpose.ORDER).permutation(films))


class _Loop:
    """The optimiser and where the run stands: batches done, and whether the trunk learns yet."""

    def __init__(self, model: LocalizedModel, config: LocalizedConfig) -> None:
        self.model, self.config = model, config
        self.optimizer = make_optimizer(model, config)
        self.batch = 0

    def run_epoch(self, task: LocalizedTask[TargetT, PredictionT], train: LocalizedPart[TargetT], watch: Watch) -> None:
        """One pass over the films, in batches."""
        if self.config.trunk_learns:
            if self._is_warming_up:
                self.model.trunk.freeze()
            else:
                self.model.trunk.release()
        self.model.train()
        order = train.places[film_order(len(train), self.config, watch.epochs)]
        size = self.config.batch_size
        for place in range(batches_per_epoch(len(train), size, keep_last=self.config.keep_last)):
            if self.batch == self.config.last_step:
                break  # more passes at rate 0 would change nothing but the batch norms' statistics
            self._let_the_trunk_learn(watch)
            if self.config.cosine is not None:
                watch.plateau.rate = self.config.learning_rate * self.config.cosine.factor(self.batch)
            places = order[place * size : (place + 1) * size]
            outputs = self.model(self._inputs(train, places, watch.epochs))
            self._step(task.loss(outputs, train.targets(places)), watch.plateau.rate)

    @property
    def _is_warming_up(self) -> bool:
        return self.batch < self.config.warmup_batches

    def _let_the_trunk_learn(self, watch: Watch) -> None:
        """At the first batch after the warm-up, and with the published reset at every one, set the task's rate."""
        if not self.config.trunk_learns or self._is_warming_up:
            return
        ends_here = self.batch == self.config.warmup_batches
        if ends_here:
            self.model.trunk.release()
            if not self.config.late_train_mode:
                self.model.trunk.train()
        if ends_here or self.config.rate_resets:
            watch.plateau.rate = self.config.learning_rate

    def _inputs(self, train: LocalizedPart[TargetT], places: Tensor, epoch: int) -> Tensor | FeatureMaps:
        if train.varied is not None:
            return train.varied(places, self.config.seed, epoch)
        inputs = train.inputs(places)
        if isinstance(inputs, FeatureMaps) and self.config.trunk_learns:
            raise ConfigError(
                "a trunk that learns needs films; it was given maps that were made before.",
                field="trunk",
                remedy="Give the training part its pixels, or freeze the trunk.",
            )
        return inputs

    def _step(self, loss: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no types for it
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(_learnt(self.model, self.config).parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.batch += 1


def make_optimizer(model: LocalizedModel, config: LocalizedConfig) -> torch.optim.Optimizer:
    """The optimiser of a run. Its groups, the trunk if it learns and the head, have a ``share`` of the rate each."""
    groups = [{"params": list(model.head.parameters()), "share": 1.0}]
    if config.trunk_learns:
        groups.insert(0, {"params": list(model.trunk.parameters()), "share": config.trunk_rate})
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, betas=config.betas, weight_decay=decay)


def _learnt(model: LocalizedModel, config: LocalizedConfig) -> nn.Module:
    """What is trained: the head, or everything."""
    return model if config.trunk_learns else model.head
