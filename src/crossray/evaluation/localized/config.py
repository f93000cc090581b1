"""How a downstream head is trained.

Spec: ``localized_evaluation``, section 2 (schedule) and section 7 (defects 4 and 12).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from crossray.errors import ConfigError
from crossray.settings import Settings


class LocalizedConfig(Settings):
    """One run: one learning rate, one seed.

    Attributes:
        learning_rate: of the head, and of the trunk too once it learns.
        batch_size: films a batch; what is left over at an epoch's end is dropped.
        max_epochs: at most so many.
        patience: epochs without a better validation metric after which training stops.
        min_delta: a metric is better if it is larger by more than this; the best epoch's weights are kept.
        selection: what chooses the epoch: the validation metric, or (MGCA's segmentation) the validation loss.
        optimizer: ``adam`` adds the decay to the gradient, ``adamw`` to the weights.
        weight_decay, betas: of the optimiser.
        plateau_factor: what the learning rate is multiplied with after more than ``plateau_patience`` epochs without a
            lower validation loss.
        plateau_patience: ``null`` keeps the rate.
        trunk: ``frozen`` trains the head only; ``finetune`` the head alone for the first ``warmup_batches``, with
            ``warmup_learning_rate`` and the trunk in evaluation mode, and then everything.
        rate_resets: as published (defect 4), every batch after the warm-up sets the rate back, so that the plateau
            schedule is void. Off: the schedule acts.
        late_train_mode: as published (defect 12), the trunk's batch norms learn from the next epoch on only. Off: as
            soon as the trunk does.
        seed: of the head's first weights and of the order of films.
    """

    learning_rate: float = Field(gt=0)
    batch_size: int = Field(default=64, ge=1)
    max_epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=10, ge=1)
    min_delta: float = Field(default=1e-5, ge=0)
    selection: Literal["metric", "loss"] = "metric"
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = Field(default=1e-6, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    plateau_factor: float = Field(default=0.5, gt=0, lt=1)
    plateau_patience: int | None = Field(default=3, ge=0)
    trunk: Literal["frozen", "finetune"] = "frozen"
    warmup_batches: int = Field(default=0, ge=0)
    warmup_learning_rate: float = Field(default=1e-3, gt=0)
    rate_resets: bool = False
    late_train_mode: bool = False
    seed: int = 0

    @model_validator(mode="after")
    def _only_a_trunk_that_learns_has_a_warm_up(self) -> LocalizedConfig:
        if self.trunk == "frozen" and (self.warmup_batches or self.rate_resets or self.late_train_mode):
            raise ValueError("warmup_batches, rate_resets and late_train_mode belong to trunk: finetune")
        return self


def batches_per_epoch(films: int, batch_size: int) -> int:
    """Whole batches of an epoch (numeric check E9).

    Raises:
        ConfigError: there are fewer films than one batch.
    """
    if films < batch_size:
        raise ConfigError(
            f"{films} training films do not fill one batch of {batch_size}.",
            field="batch_size",
            remedy=f"Choose {films} at most." if films else "The training part is empty.",
        )
    return films // batch_size
