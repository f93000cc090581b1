"""JoImTeRNet's own classification heads on a frozen run: for films, for reports, and for both.

Spec: `joimternet`, section 5.2, mode *frozen*: the encoders stand still in evaluation mode, so what a head reads of a
study is computed once. Departures: films are not augmented, and the epoch is chosen on validation (the published one
was picked by hand, on validation and test together, section 6.12).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from crossray.evaluation.finetune import selection_auc
from crossray.evaluation.metrics import FloatArray
from crossray.methods.joimternet.heads import ClassificationHead, Inputs, label_weights, weighted_label_loss
from crossray.settings import Settings

_READ: dict[Inputs, slice] = {"image": slice(0, 2), "text": slice(2, 4), "both": slice(0, 4)}


class JoImTeRNetHeadConfig(Settings):
    """How a head is trained: Adam with its L2 penalty, the rate divided by ten after ``drop_after`` epochs.

    Published for 217,246 studies; a small set sees far fewer steps in as many epochs.
    """

    epochs: int = Field(default=20, ge=1)
    drop_after: int = Field(default=10, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=1.5, gt=0)
    least_positives: int = Field(default=5, ge=0)
    seed: int = 0


@dataclass(frozen=True)
class HeadPart:
    """Studies of one side: ``parts [n, 4, D]`` are global vector, mean region, report and mean word of each.

    ``labels [n, K]`` are 1 where present, NaN unknown.
    """

    parts: Tensor
    labels: FloatArray


@dataclass(frozen=True)
class HeadResult:
    """Logits ``[n, K]`` of the best epoch (1-based), and the AUC on validation that chose it, after every epoch."""

    test_scores: FloatArray
    best_epoch: int
    validation_auc: tuple[float, ...]


def train_head(
    train: HeadPart, validation: HeadPart, test: HeadPart, inputs: Inputs, config: JoImTeRNetHeadConfig
) -> HeadResult:
    """Train a head, and score the test side with the epoch that ranks validation best.

    Args:
        train: whatever label is not present there counts as absent.
        validation, test: of one fold; ``test.labels`` is not looked at.
        inputs: what the head reads.
        config: the recipe.
    """
    labels = torch.from_numpy(train.labels)
    weights = label_weights((labels == 1).sum(dim=0), len(labels))
    own = _read(train, inputs)
    # The head's weights and the dropout masks come from this seed, and the caller's random state is left alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = ClassificationHead(train.parts.shape[2], labels.shape[1], inputs)
        optimiser = torch.optim.Adam(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        scheduler = torch.optim.lr_scheduler.StepLR(optimiser, config.drop_after)
        history: list[float] = []
        best: tuple[float, FloatArray] | None = None
        for epoch in range(config.epochs):
            head.train()
            order = np.random.default_rng([config.seed, epoch]).permutation(len(labels))
            for rows in torch.split(torch.from_numpy(order), config.batch_size):
                loss = weighted_label_loss(head([part[rows] for part in own]), labels[rows], weights)
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(head.parameters(), config.clip_norm)
                optimiser.step()
            scheduler.step()
            history.append(selection_auc(_logits(head, validation, inputs), validation.labels, config.least_positives))
            if best is None or history[-1] > best[0]:
                best = (history[-1], _logits(head, test, inputs))
    assert best is not None  # epochs >= 1
    return HeadResult(best[1], 1 + int(np.argmax(np.nan_to_num(history))), tuple(history))


def _read(part: HeadPart, inputs: Inputs) -> list[Tensor]:
    return list(part.parts[:, _READ[inputs]].unbind(dim=1))


@torch.no_grad()
def _logits(head: ClassificationHead, part: HeadPart, inputs: Inputs) -> FloatArray:
    head.eval()
    logits: FloatArray = head(_read(part, inputs)).double().numpy()
    return logits
