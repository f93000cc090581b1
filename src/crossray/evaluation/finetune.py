"""Fine-tuning of an image encoder, or of its last stages, on labels: a small loop of its own for every starting point.

AdamW with a low learning rate for the trunk and a higher one for the head, linear warm-up and cosine decay, binary
cross-entropy over the known labels, the epoch chosen on validation by the mean AUC of the labels that are frequent
enough there. Everything random comes from
(seed, epoch, film): the same seed gives the same scores.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from crossray.data.augment import AugmentationConfig, ImageInputConfig, evaluation_view, training_view
from crossray.evaluation.metrics import FloatArray, auroc, macro_mean, per_label
from crossray.evaluation.trunk_mode import LearningTrunk, stages_that_learn
from crossray.settings import Settings

FilmReader = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Rows of the store's films ``[n]`` → prepared pixels ``[n, S, S]``."""

Progress = Callable[[str], None]


class FinetuneConfig(Settings):
    """The recipe of fine-tuning; the same for the pretrained trunk and for its floor but for one rate.

    The epoch is chosen by the labels with at least ``least_positives`` in validation (by all, where none has so many):
    an AUC from one or two positives jumps by tenths from epoch to epoch and would decide alone.

    A trunk that has seen films needs a smaller step than one that has seen photographs only. A floor must be at its
    best, so ``floor_trunk_learning_rate`` may give it a rate of its own, chosen like the other on validation sides.

    ``trunk: partial:k`` fine-tunes the last k feature stages alone, of the floor too.
    """

    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=32, ge=2)
    trunk_learning_rate: float = Field(default=5e-5, gt=0)
    floor_trunk_learning_rate: float | None = Field(default=None, gt=0)
    head_learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    clip_norm: float = Field(default=1.0, gt=0)
    least_positives: int = Field(default=5, ge=0)
    seed: int = 0
    trunk: LearningTrunk = "finetune"
    added_later: ClassVar[tuple[str, ...]] = ("trunk",)
    augmentation: AugmentationConfig = AugmentationConfig(
        crop="random", degrees=8.0, translate=0.03, scale=(0.92, 1.08), brightness=(0.85, 1.15), contrast=(0.85, 1.15)
    )

    @property
    def choices(self) -> dict[str, str]:
        """What the reader of a table must know, if not the whole trunk was fine-tuned."""
        part = stages_that_learn(self.trunk) is not None
        return {"fine-tuning": f"{self.trunk}, only the trunk's last feature stages learn"} if part else {}

    def of_start(self, *, floor: bool) -> FinetuneConfig:
        """The recipe of one starting point: the floor's own rate is moved to its place, or dropped."""
        own = self.floor_trunk_learning_rate if floor else None
        rate = own or self.trunk_learning_rate
        return self.model_copy(update={"trunk_learning_rate": rate, "floor_trunk_learning_rate": None})


@dataclass(frozen=True)
class FilmPart:
    """One part of a fold: rows of its films in the store ``[n]`` and their labels ``[n, K]`` (NaN unknown)."""

    rows: NDArray[np.int64]
    labels: FloatArray


@dataclass(frozen=True)
class FinetuneResult:
    """Logits ``[n, K]`` of the best epoch (1-based), and the AUC on validation that chose it, after every epoch."""

    validation_scores: FloatArray
    test_scores: FloatArray
    best_epoch: int
    validation_auc: tuple[float, ...]


class Classifier(nn.Module):
    """A trunk (pixels ``[B, 1, s, s]`` → ``[B, C]``) with a dropout and a linear head."""

    def __init__(self, trunk: nn.Module, width: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, labels)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits ``[B, K]``."""
        logits: Tensor = self.head(self.dropout(self.trunk(pixels)))
        return logits


def finetune(
    trunk: nn.Module,
    width: int,
    read: FilmReader,
    train: FilmPart,
    validation: FilmPart,
    test: FilmPart,
    image: ImageInputConfig,
    config: FinetuneConfig,
    progress: Progress | None = None,
) -> FinetuneResult:
    """Fine-tune a copy of ``trunk`` (left as it is) and score validation and test with its best epoch.

    Args:
        trunk: pixels ``[B, 1, s, s]`` → features ``[B, width]``; parameters that get no gradient stay as they are.
        width: of those features.
        read: the store's films by row.
        train, validation, test: of one fold; ``test.labels`` is not looked at.
        image: what the trunk is given; its augmentation is replaced by ``config.augmentation``.
        config: the recipe.
        progress: called with one line after each epoch.
    """
    view = image.model_copy(update={"augmentation": config.augmentation})
    # The head's weights and the dropout masks come from this seed, and the caller's random state is left alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Classifier(copy.deepcopy(trunk), width, train.labels.shape[1], config.dropout)
        optimiser, scheduler = _optimiser(model, config, _steps_per_epoch(len(train.rows), config) * config.epochs)
        history: list[float] = []
        best: tuple[float, FloatArray, FloatArray] | None = None
        for epoch in range(config.epochs):
            loss = _train_epoch(model, optimiser, scheduler, read, train, view, config, epoch)
            validation_scores = predict(model, read, validation.rows, image, config.batch_size)
            history.append(selection_auc(validation_scores, validation.labels, config.least_positives))
            if best is None or history[-1] > best[0]:
                best = (history[-1], validation_scores, predict(model, read, test.rows, image, config.batch_size))
            if progress is not None:
                progress(f"epoch {epoch + 1}/{config.epochs}: loss {loss:.4f}, validation AUC {history[-1]:.4f}")
    assert best is not None  # epochs >= 1
    return FinetuneResult(best[1], best[2], 1 + int(np.argmax(np.nan_to_num(history))), tuple(history))


def selection_auc(scores: FloatArray, labels: FloatArray, least_positives: int) -> float:
    """Mean AUC of ``scores [n, K]`` over the labels with at least so many positives; over all, if none has."""
    frequent = np.flatnonzero((labels > 0.5).sum(axis=0) >= least_positives)
    judged = frequent if len(frequent) else np.arange(labels.shape[1])
    return float(macro_mean(per_label(auroc, scores[:, judged], labels[:, judged]))[0])


def masked_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy over the known labels (NaN unknown); zero where none is known."""
    known = ~torch.isnan(labels)
    loss = F.binary_cross_entropy_with_logits(logits, torch.where(known, labels, 0.0), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def predict(
    model: nn.Module, read: FilmReader, rows: NDArray[np.int64], image: ImageInputConfig, batch_size: int
) -> FloatArray:
    """Outputs ``[n, ...]`` of a model in evaluation mode for the films of ``rows``."""
    model.eval()
    pieces = [
        model(evaluation_view(torch.from_numpy(read(rows[start : start + batch_size])), image)).double().numpy()
        for start in range(0, len(rows), batch_size)
    ]
    return np.concatenate(pieces)


def _train_epoch(
    model: Classifier,
    optimiser: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    read: FilmReader,
    train: FilmPart,
    view: ImageInputConfig,
    config: FinetuneConfig,
    epoch: int,
) -> float:
    model.train()
    order = np.random.default_rng([config.seed, epoch]).permutation(len(train.rows))
    total = 0.0
    steps = _steps_per_epoch(len(order), config)
    for step in range(steps):
        chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
        rows = train.rows[chosen]
        films = training_view(torch.from_numpy(read(rows)), rows, view, seed=config.seed, epoch=epoch)
        loss = masked_bce(model(films), torch.from_numpy(train.labels[chosen]).float())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships no types for it
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimiser.step()
        scheduler.step()
        total += float(loss.detach())
    return total / steps


def _steps_per_epoch(films: int, config: FinetuneConfig) -> int:
    """Whole batches only, at least one: a last batch of one film would break batch normalisation."""
    return max(1, films // config.batch_size)


def _optimiser(
    model: Classifier, config: FinetuneConfig, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = torch.optim.AdamW(
        [
            {"params": list(model.trunk.parameters()), "lr": config.trunk_learning_rate},
            {"params": list(model.head.parameters()), "lr": config.head_learning_rate},
        ],
        weight_decay=config.weight_decay,
    )
    warmup = max(1, round(config.warmup_share * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
