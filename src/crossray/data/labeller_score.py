"""How well the rule labeller agrees with people, label by label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.data.mentions import Mention


@dataclass(frozen=True)
class Agreement:
    """Counts of one label over studies; ratios are NaN where nothing was there to be found or said.

    ``f1_interval`` is the 95 % percentile bootstrap interval of F1 over studies.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    f1_interval: tuple[float, float]

    @property
    def precision(self) -> float:
        """Of the studies that the labeller calls positive, the share that people do."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Of the studies that people call positive, the share that the labeller does."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)


@dataclass(frozen=True)
class LabelScore:
    """One label: studies with a human verdict, positives among them, and agreement under two readings.

    ``present`` counts only plain statements as positive; ``present_or_uncertain`` also the doubtful ones.
    """

    label: str
    studies: int
    positives: int
    present: Agreement
    present_or_uncertain: Agreement


def score_labeller(
    said: Sequence[Mapping[str, Mention]],
    human: Sequence[Mapping[str, float]],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> list[LabelScore]:
    """Score the labeller's statements against human labels, study by study in the same order.

    Args:
        said: what :func:`crossray.data.findings.label_mentions` found in each study.
        human: 1.0, 0.0 or NaN for each label; a study with NaN is left out of that label's score.
        seed: of the bootstrap.
        resamples: bootstrap resamples of the studies.

    Raises:
        ValueError: the two are not equally long, or there are none.
    """
    if len(said) != len(human) or not human:
        raise ValueError(f"{len(said)} studies with statements, {len(human)} with human labels")
    generator = np.random.default_rng(seed)
    scores: list[LabelScore] = []
    for label in human[0]:
        known = [(states[label], labels[label] == 1.0) for states, labels in zip(said, human, strict=True)]
        known = [pair for pair, labels in zip(known, human, strict=True) if not np.isnan(labels[label])]
        scores.append(
            LabelScore(
                label=label,
                studies=len(known),
                positives=sum(truth for _, truth in known),
                present=_agree(known, (Mention.PRESENT,), generator, resamples),
                present_or_uncertain=_agree(known, (Mention.PRESENT, Mention.UNCERTAIN), generator, resamples),
            )
        )
    return scores


def _agree(
    known: Iterable[tuple[Mention, bool]], positive: tuple[Mention, ...], generator: np.random.Generator, resamples: int
) -> Agreement:
    counts = np.zeros((2, 2), dtype=np.int64)
    for state, truth in known:
        counts[int(truth), int(state in positive)] += 1
    (true_negatives, false_positives), (false_negatives, true_positives) = counts.tolist()
    return Agreement(
        true_positives=true_positives,
        false_positives=false_positives,
        false_negatives=false_negatives,
        true_negatives=true_negatives,
        f1_interval=_f1_interval(counts, generator, resamples),
    )


def _f1_interval(counts: NDArray[np.int64], generator: np.random.Generator, resamples: int) -> tuple[float, float]:
    """Drawing studies with replacement is drawing their four kinds from a multinomial distribution."""
    total = int(counts.sum())
    if total == 0:
        return float("nan"), float("nan")
    drawn = generator.multinomial(total, (counts / total).ravel(), size=resamples).astype(np.float64)
    _, false_positives, false_negatives, true_positives = drawn.T
    denominator = 2 * true_positives + false_positives + false_negatives
    f1 = 2 * true_positives[denominator > 0] / denominator[denominator > 0]
    if f1.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(f1, [2.5, 97.5])
    return float(low), float(high)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
