"""Zero-shot classification: a film's score for a class is how near it stands to the sentences that state it.

Source: global_local.md §6.2; downstream_protocols.md §3. Scores are raw: nothing is standardised over the evaluated
films, so a film's score depends on that film and the prompts alone. ``normalisation: zscore`` gives that up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.prompts import DEFAULT_BANK, ClassPrompts, PromptBank, class_generator
from crossray.evaluation.retrieval import zscore_over
from crossray.settings import Settings

Contrast = Literal["positive", "versus_negated"]
Aggregate = Literal["mean", "max"]
Combine = Literal["mean", "global", "local"]
Normalisation = Literal["none", "zscore"]

PromptScorer = Callable[[Sequence[str]], tuple[FloatArray, FloatArray | None]]
"""Sentences ``[P]`` → global scores ``[N, P]`` and, if the method has them, local scores ``[N, P]``."""


class ZeroShotConfig(Settings):
    """How prompts become a score.

    Attributes:
        bank: a shipped bank or a provider (``prior_single``, ``gloria5``, ``all-combinations``), or a YAML file's path.
        combine: ``mean`` = ½(global + local) (§6.2); a method without local scores is always ``global``.
        aggregate: over the prompts of a class, ``max`` (the reference code) or ``mean``.
        contrast: ``positive`` prompts alone, or the difference to the ``negated`` ones, aggregated likewise. (A
            softmax over the two is a rising function of that difference: the AUC is the same.)
        normalisation: ``zscore`` standardises each class over the evaluated films (GLoRIA). The class called for a film
            then depends on the other films; each class's AUROC does not change.
        prompts_per_class: draw so many of each kind; ``None`` = all.
        seed: of that draw and of a provider's; each class draws for itself, so that the order of classes plays no part.
    """

    bank: str = DEFAULT_BANK
    combine: Combine = "mean"
    aggregate: Aggregate = "mean"
    contrast: Contrast = "versus_negated"
    normalisation: Normalisation = "none"
    added_later: ClassVar[tuple[str, ...]] = ("normalisation",)
    prompts_per_class: int | None = Field(default=None, ge=1)
    seed: int = 0

    @property
    def name(self) -> str:
        """Short name for result tables."""
        which = "" if self.combine == "mean" else f", {self.combine} score"
        standardised = ", z-scored over the films" if self.normalisation == "zscore" else ""
        return f"{self.aggregate} {self.contrast.replace('_', ' ')}{which}{standardised}"


@dataclass(frozen=True)
class PromptScores:
    """Scores of N films for the prompts of one class: ``positive [N, P]`` and ``negated [N, Q]`` (Q may be 0)."""

    positive: FloatArray
    negated: FloatArray


def zero_shot_scores(
    score: PromptScorer, bank: PromptBank, labels: Sequence[str], config: ZeroShotConfig
) -> FloatArray:
    """Scores ``[N, K]`` of N films for K classes (``labels``, each covered by the bank), normalised as configured."""
    by_class = prompt_scores(score, bank, labels, config)
    raw = np.stack([class_score(by_class[label], config) for label in labels], axis=1)
    return normalise_scores(raw, config.normalisation)


def normalise_scores(scores: FloatArray, how: Normalisation) -> FloatArray:
    """Scores ``[N, K]`` as they are, or each class standardised over the N films; a constant class becomes zeros.

    Mean and deviation are those of the films given (population form, as published): all that are evaluated, never a
    batch of them, or else a film's class depends on its batch.
    """
    return zscore_over(scores, axis=0) if how == "zscore" else scores


def prompt_scores(
    score: PromptScorer, bank: PromptBank, labels: Sequence[str], config: ZeroShotConfig
) -> dict[str, PromptScores]:
    """Scores of every film for every prompt of each class. All prompts are embedded in one call."""
    chosen = {
        label: bank.of(label).sample(config.prompts_per_class, class_generator(config.seed, label)) for label in labels
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
