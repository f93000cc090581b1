"""How a downstream head is trained.

Spec: ``localized_evaluation``, section 2 (schedule) and section 7 (defects 4 and 12); ``downstream_protocols``, 8.1.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from crossray.errors import ConfigError
from crossray.evaluation.trunk_mode import TrunkMode, stages_that_learn
from crossray.settings import Settings


class CosineDecay(Settings):
    """The rate by step instead of by plateau: up in a line from 0, then down along half a cosine (BenchX).

    Attributes:
        warmup_steps: until the rate is whole; the very first step has a rate of 0.
        total_steps: at which the rate is 0 again.
        clamped: training ends there. Off, as published: the cosine goes on, so that the rate rises again.
    """

    warmup_steps: int = Field(ge=0)
    total_steps: int = Field(ge=1)
    clamped: bool = True

    def factor(self, step: int) -> float:
        """What the rate of a step (from 0) is multiplied with."""
        if step < self.warmup_steps:
            return step / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * (min(1.0, progress) if self.clamped else progress)))


class Schedule(Settings):
    """How long and by what steps; what differs from run to run is :class:`LocalizedConfig`'s.

    ``batch_size``, ``max_epochs`` and ``patience`` differ between protocols and have no default.

    Attributes:
        batch_size: films a batch.
        keep_last: what is left over at an epoch's end is a smaller batch, and not dropped.
        max_epochs: at most so many.
        first_look, look_every: the epochs after which validation is looked at: the first (from 1), and every so many
            from there on; the last epoch is one in any case.
        patience: looks without a better validation metric after which training stops.
        min_delta: a metric is better if it is larger by more than this; the best epoch's weights are kept.
        selection: what chooses the epoch: the validation metric, or (MGCA's segmentation) the validation loss.
        optimizer: ``adam`` adds the decay to the gradient, ``adamw`` to the weights; ``sgd`` has ``momentum``.
        weight_decay, betas: of the optimiser.
        clip_norm: largest norm of the gradient; ``null`` does not clip.
        plateau_factor: what the learning rate is multiplied with after more than ``plateau_patience`` looks without a
            lower validation loss.
        plateau_patience: ``null`` keeps the rate.
        cosine: a rate by step; wants ``plateau_patience: null``.
        trunk_rate: the trunk's rate as a share of the head's.
        warmup_batches: a trunk that learns rests so long, and the head alone learns, with ``warmup_learning_rate`` and
            the trunk in evaluation mode.
        rate_resets: as published (defect 4), every batch after the warm-up sets the rate back, so that the plateau
            schedule is void. Off: the schedule acts.
        late_train_mode: as published (defect 12), the trunk's batch norms learn from the next epoch on only. Off: as
            soon as the trunk does.
    """

    batch_size: int = Field(ge=1)
    keep_last: bool = False
    max_epochs: int = Field(ge=1)
    first_look: int = Field(default=1, ge=1)
    look_every: int = Field(default=1, ge=1)
    patience: int = Field(ge=1)
    min_delta: float = Field(default=1e-5, ge=0)
    selection: Literal["metric", "loss"] = "metric"
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-6, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float | None = Field(default=None, gt=0)
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    plateau_patience: int | None = Field(default=3, ge=0)
    cosine: CosineDecay | None = None
    trunk_rate: float = Field(default=1.0, gt=0)
    warmup_batches: int = Field(default=0, ge=0)
    warmup_learning_rate: float = Field(default=1e-3, gt=0)
    rate_resets: bool = False
    late_train_mode: bool = False

    @model_validator(mode="after")
    def _one_thing_sets_the_rate(self) -> Schedule:
        if self.cosine and (self.plateau_patience is not None or self.warmup_batches or self.rate_resets):
            raise ValueError("cosine sets every rate; it wants plateau_patience: null and no warmup_batches")
        return self

    def is_looked_at(self, epoch: int) -> bool:
        """Whether validation is looked at after an epoch (from 1)."""
        past = epoch - self.first_look
        return epoch == self.max_epochs or (past >= 0 and past % self.look_every == 0)

    def looks(self, epochs: int) -> int:
        """How often validation is looked at in so many epochs."""
        return sum(self.is_looked_at(epoch) for epoch in range(1, epochs + 1))

    @property
    def last_step(self) -> int | None:
        """The steps after which a clamped cosine leaves nothing to be learnt; ``None``: epochs alone decide."""
        return self.cosine.total_steps if self.cosine is not None and self.cosine.clamped else None

    def of_films(self, films: int) -> Self:
        """With no epoch after the one in which the last step of so many training films falls.

        Raises:
            ConfigError: there are fewer films than one batch.
        """
        batches = batches_per_epoch(films, self.batch_size, keep_last=self.keep_last)
        if self.last_step is None:
            return self
        return self.model_copy(update={"max_epochs": min(self.max_epochs, -(-self.last_step // batches))})

    @property
    def fewest_epochs(self) -> int:
        """The earliest epoch at which patience can end the training."""
        return min(self.first_look + self.patience * self.look_every, self.max_epochs)

    @property
    def is_grid_wide(self) -> bool:
        """Whether a whole grid of linear heads can be trained by it in common steps."""
        plain = self.cosine is None and self.clip_norm is None and not self.keep_last
        return plain and self.optimizer != "sgd" and self.first_look == self.look_every == 1


class LocalizedConfig(Schedule):
    """One run: one learning rate, one seed.

    Attributes:
        learning_rate: of the head, and of the trunk too once it learns.
        trunk: ``frozen`` trains the head only; ``finetune`` the head alone for the first ``warmup_batches``, and then
            everything; ``partial:k`` the same with the trunk's last k stages instead of everything.
        seed: of the head's first weights, of the order of films, and of how they are varied.
    """

    learning_rate: float = Field(gt=0)
    batch_size: int = Field(default=64, ge=1)
    max_epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=10, ge=1)
    trunk: TrunkMode = "frozen"
    seed: int = 0

    @model_validator(mode="after")
    def _only_a_trunk_that_learns_has_a_warm_up(self) -> LocalizedConfig:
        if not self.trunk_learns and (self.warmup_batches or self.rate_resets or self.late_train_mode):
            raise ValueError("warmup_batches, rate_resets and late_train_mode belong to trunk: finetune")
        if not self.trunk_learns and self.trunk_rate != 1:
            raise ValueError("trunk_rate belongs to trunk: finetune")
        return self

    @property
    def trunk_learns(self) -> bool:
        """Whether any of the trunk learns."""
        return self.trunk != "frozen"

    @property
    def last_stages(self) -> int | None:
        """How many of the trunk's stages learn; ``None``: all or none."""
        return stages_that_learn(self.trunk)


def batches_per_epoch(films: int, batch_size: int, *, keep_last: bool = False) -> int:
    """Batches of an epoch: whole ones (numeric check E9), and with ``keep_last`` the rest.

    Raises:
        ConfigError: there are fewer films than one batch.
    """
    if films < batch_size:
        raise ConfigError(
            f"{films} training films do not fill one batch of {batch_size}.",
            field="batch_size",
            remedy=f"Choose {films} at most." if films else "The training part is empty.",
        )
    return -(-films // batch_size) if keep_last else films // batch_size
