"""What follows from looks at validation: the learning rate, the best epoch, and when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from crossray.evaluation.localized.config import LocalizedConfig

_RELATIVE_IMPROVEMENT = 1e-4  # PyTorch's default threshold
_SMALLEST_CHANGE = 1e-8  # PyTorch's default eps


@dataclass
class Plateau:
    """PyTorch's ``ReduceLROnPlateau`` (mode ``min``, its defaults) as plain numbers.

    Attributes:
        rate: the learning rate, which may also be set from outside.
        factor, patience: see :class:`LocalizedConfig`; patience ``None`` never changes the rate.
    """

    rate: float
    factor: float
    patience: int | None
    best: float = math.inf
    waited: int = 0

    def observe(self, loss: float) -> None:
        """Take in the validation loss of an epoch. NaN is no improvement."""
        if self.patience is None:
            return
        if loss < self.best * (1 - _RELATIVE_IMPROVEMENT):
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            smaller = self.rate * self.factor
            self.rate = smaller if self.rate - smaller > _SMALLEST_CHANGE else self.rate
            self.waited = 0


@dataclass
class EarlyStop:
    """The best epoch so far, and whether ``patience`` looks in a row were no better."""

    patience: int
    min_delta: float
    best: float = -math.inf
    best_epoch: int = 0
    waited: int = 0

    def observe(self, epoch: int, value: float) -> bool:
        """Take in an epoch (1-based); true if it is the best so far. NaN never is, but for the first epoch."""
        if value - self.min_delta > self.best or self.best_epoch == 0:
            self.best, self.best_epoch, self.waited = (-math.inf if math.isnan(value) else value), epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def is_over(self) -> bool:
        """Whether to stop."""
        return self.waited >= self.patience


@dataclass(frozen=True)
class EpochRecord:
    """One epoch (1-based): validation loss and metric after it, and the learning rate that it ended with."""

    epoch: int
    validation_loss: float
    validation_metric: float
    learning_rate: float


class Watch:
    """Rate, early stop and history of one run.

    Attributes:
        epochs: how many have been run.
        plateau: holds the learning rate.
        history: the epochs after which validation was looked at.
    """

    def __init__(self, config: LocalizedConfig) -> None:
        self.config = config
        warm = config.warmup_learning_rate if config.warmup_batches else config.learning_rate
        self.plateau = Plateau(warm, config.plateau_factor, config.plateau_patience)
        self.stop = EarlyStop(config.patience, config.min_delta)
        self.history: list[EpochRecord] = []
        self.epochs = 0

    @property
    def looks_next(self) -> bool:
        """Whether validation is looked at after the epoch that is under way; if not, it is passed over."""
        return self.config.is_looked_at(self.epochs + 1)

    def pass_over(self) -> None:
        """Count an epoch after which nobody looks."""
        self.epochs += 1

    def observe(self, loss: float, metric: float) -> bool:
        """Take in the validation after an epoch; true if its weights are the best so far."""
        self.epochs += 1
        self.history.append(EpochRecord(self.epochs, loss, metric, self.plateau.rate))
        self.plateau.observe(loss)
        return self.stop.observe(self.epochs, metric if self.config.selection == "metric" else -loss)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended, by its patience or its number of epochs."""
        return self.stop.is_over or self.epochs >= self.config.max_epochs

    @property
    def best(self) -> EpochRecord:
        """The epoch whose weights are kept."""
        return next(record for record in self.history if record.epoch == self.stop.best_epoch)
