"""Zero-shot classification: a film's score for a class is how near it stands to the sentences that state it.

Source: global_local.md §6.2. Scores are raw: nothing is standardised over the evaluated films, so a film's score
depends on that film and the prompts alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.prompts import DEFAULT_BANK, ClassPrompts, PromptBank
from crossray.settings import Settings

Contrast = Literal["positive", "versus_negated"]
Aggregate = Literal["mean", "max"]
Combine = Literal["mean", "global", "local"]

PromptScorer = Callable[[Sequence[str]], tuple[FloatArray, FloatArray | None]]
"""Sentences ``[P]`` → global scores ``[N, P]`` and, if the method has them, local scores ``[N, P]``."""


class ZeroShotConfig(Settings):
    """How prompts become a score.

    Attributes:
        bank: a shipped bank's name, or the path of a YAML file.
        combine: ``mean`` = ½(global + local) (§6.2); a method without local scores is always ``global``.
        aggregate: over the prompts of a class, ``max`` (the reference code) or ``mean``.
        contrast: ``positive`` prompts alone, or the difference to the ``negated`` ones, aggregated likewise. (A
            softmax over the two is a rising function of that difference: the AUC is the same.)
        prompts_per_class: draw so many of each kind; ``None`` = all.
        seed: of that draw; each class draws for itself, so that the order of classes plays no part.
    """

    bank: str = DEFAULT_BANK
    combine: Combine = "mean"
    aggregate: Aggregate = "mean"
    contrast: Contrast = "versus_negated"
    prompts_per_class: int | None = Field(default=None, ge=1)
    seed: int = 0

    @property
    def name(self) -> str:
        """Short name for result tables."""
        which = "" if self.combine == "mean" else f", {self.combine} score"
        return f"{self.aggregate} {self.contrast.replace('_', ' ')}{which}"


@dataclass(frozen=True)
class PromptScores:
    """Scores of N films for the prompts of one class: ``positive [N, P]`` and ``negated [N, Q]`` (Q may be 0)."""

    positive: FloatArray
    negated: FloatArray


def zero_shot_scores(
    score: PromptScorer, bank: PromptBank, labels: Sequence[str], config: ZeroShotConfig
) -> FloatArray:
    """Raw scores ``[N, K]`` of N films for K classes (``labels``, each covered by the bank)."""
    by_class = prompt_scores(score, bank, labels, config)
    return np.stack([class_score(by_class[label], config) for label in labels], axis=1)


def prompt_scores(
    score: PromptScorer, bank: PromptBank, labels: Sequence[str], config: ZeroShotConfig
) -> dict[str, PromptScores]:
    """Scores of every film for every prompt of each class. All prompts are embedded in one call."""
    chosen = {
        label: bank.of(label).sample(config.prompts_per_class, _generator(config.seed, label)) for label in labels
    }
    sentences = list(dict.fromkeys(s for prompts in chosen.values() for s in (*prompts.positive, *prompts.negated)))
    table = combine_scores(*score(sentences), config.combine)
    place = {sentence: column for column, sentence in enumerate(sentences)}

    def columns(prompts: ClassPrompts) -> PromptScores:
        positive, negated = ([place[s] for s in part] for part in (prompts.positive, prompts.negated))
        return PromptScores(table[:, positive], table[:, negated])

    return {label: columns(prompts) for label, prompts in chosen.items()}


def combine_scores(global_scores: FloatArray, local_scores: FloatArray | None, combine: Combine) -> FloatArray:
    """Global and local scores as one (§6.2: half their sum)."""
    if local_scores is None or combine == "global":
        return np.asarray(global_scores, dtype=np.float64)
    if combine == "local":
        return np.asarray(local_scores, dtype=np.float64)
    return (np.asarray(global_scores, dtype=np.float64) + np.asarray(local_scores, dtype=np.float64)) / 2


def class_score(scores: PromptScores, config: ZeroShotConfig) -> FloatArray:
    """One score a film ``[N]``; a class without negated prompts is scored by its positive ones."""
    positive = _aggregate(scores.positive, config.aggregate)
    if config.contrast == "positive" or scores.negated.shape[1] == 0:
        return positive
    return positive - _aggregate(scores.negated, config.aggregate)


def _aggregate(scores: FloatArray, how: Aggregate) -> FloatArray:
    result: FloatArray = scores.max(axis=1) if how == "max" else scores.mean(axis=1)
    return result


def _generator(seed: int, label: str) -> np.random.Generator:
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(label.encode()).digest()[:8], "big")])
