"""From out-of-fold predictions to numbers with intervals.

Scores of different folds come from different models and do not share a scale. The headline AUC is therefore the
mean over folds of the AUC inside each fold; ``pooled`` puts all studies in one ranking after replacing each score by
its mid-rank inside its fold, and ``joined`` puts them together as they are: only probabilities, which do share a scale,
can be. Retrieval ranks inside each fold's gallery and pools the hits. Draws resample patients
inside folds, and are the same for every model: differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from crossray.evaluation.intervals import Interval, bootstrap_weights, percentile_interval
from crossray.evaluation.metrics import (
    FloatArray,
    LabelMetric,
    macro_mean,
    per_label,
    quotient,
    weighted_mean,
    weighted_median,
)
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.retrieval import RankCounts

Pooling = Literal["mean_of_folds", "pooled", "joined"]


@dataclass(frozen=True)
class FoldScores:
    """Test predictions of one fold: ``scores`` and ``labels [n, K]``, one patient a row."""

    fold: str
    patient_ids: tuple[str | None, ...]
    scores: FloatArray
    labels: FloatArray


@dataclass(frozen=True)
class FoldRanks:
    """Ranks of one fold's queries, one patient a query."""

    fold: str
    patient_ids: tuple[str | None, ...]
    counts: RankCounts


@dataclass(frozen=True)
class Sampled:
    """A statistic's estimate ``[K]`` and its draws ``[draws, K]``."""

    estimate: FloatArray
    draws: FloatArray

    def minus(self, other: Sampled) -> Sampled:
        """The paired difference (both must come from the same rows and seed)."""
        return Sampled(self.estimate - other.estimate, self.draws - other.draws)

    def mean_of(self, columns: Sequence[int], names: Sequence[str] = ()) -> Sampled:
        """The mean over some columns, as one column; a column that is NaN is left out."""
        chosen = list(columns)
        estimate = macro_mean(self.estimate[chosen], names)
        return Sampled(estimate.reshape(1), macro_mean(self.draws[:, chosen])[:, None])

    def mean_by(self, weights: FloatArray) -> Sampled:
        """The mean over all columns by ``weights [K]``, as one column; a column that is NaN is left out."""
        estimate, draws = (
            quotient((np.nan_to_num(values) * weights).sum(axis=-1), (~np.isnan(values) * weights).sum(axis=-1))
            for values in (self.estimate[None], self.draws)
        )
        return Sampled(estimate, draws[:, None])

    def interval(self, column: int, level: float) -> Interval:
        """Estimate and percentile interval of one column."""
        return percentile_interval(float(self.estimate[column]), self.draws[:, column], level)


def sample_classification(
    metric: LabelMetric, folds: Sequence[FoldScores], protocol: Protocol, pooling: Pooling = "mean_of_folds"
) -> Sampled:
    """A metric for each label over the folds, with its bootstrap draws."""
    rankings = [(fold.scores, fold.labels, patient_weights(fold.fold, fold.patient_ids, protocol)) for fold in folds]
    if pooling != "mean_of_folds":
        scores = np.concatenate([mid_ranks(own) if pooling == "pooled" else own for own, _, _ in rankings])
        labels = np.concatenate([labels for _, labels, _ in rankings])
        rankings = [(scores, labels, np.concatenate([weights for _, _, weights in rankings], axis=1))]
    estimates = np.stack([per_label(metric, scores, labels)[0] for scores, labels, _ in rankings])
    draws = np.stack([per_label(metric, scores, labels, weights) for scores, labels, weights in rankings])
    # Over the folds in which the label has both classes: with a handful of positives a draw may lack them in one.
    return Sampled(macro_mean(np.moveaxis(estimates, 0, -1)), macro_mean(np.moveaxis(draws, 0, -1)))


def sample_recall(folds: Sequence[FoldRanks], k: int, protocol: Protocol) -> Sampled:
    """R@k over all queries of all folds (one column)."""
    values = np.concatenate([fold.counts.hits(k, protocol.ties) for fold in folds])
    return Sampled(np.array([values.mean()]), weighted_mean(values, _query_weights(folds, protocol))[:, None])


def sample_median_rank(folds: Sequence[FoldRanks], protocol: Protocol) -> Sampled:
    """Median rank over all queries of all folds (one column)."""
    values = np.concatenate([fold.counts.ranks(protocol.ties) for fold in folds])
    return Sampled(np.array([np.median(values)]), weighted_median(values, _query_weights(folds, protocol))[:, None])


def chance_recall(folds: Sequence[FoldRanks], k: int) -> float:
    """Exact R@k of galleries in random order."""
    return float(np.concatenate([fold.counts.chance(k) for fold in folds]).mean())


def positives_and_known(folds: Sequence[FoldScores]) -> list[tuple[int, int]]:
    """For each label, the number of positive and of labelled studies over the folds."""
    labels = np.concatenate([fold.labels for fold in folds])
    known = (~np.isnan(labels)).sum(axis=0).tolist()
    return list(zip((labels > 0.5).sum(axis=0).tolist(), known, strict=True))


def _query_weights(folds: Sequence[FoldRanks], protocol: Protocol) -> FloatArray:
    return np.concatenate([patient_weights(fold.fold, fold.patient_ids, protocol) for fold in folds], axis=1)


def patient_weights(fold: str, patient_ids: Sequence[str | None], protocol: Protocol) -> FloatArray:
    """``[draws, n]`` how often each row of a fold is drawn: the same for everything that is evaluated on these rows."""
    return bootstrap_weights(patient_ids, draws=protocol.draws, seed=protocol.seed, stratum=fold)


def mid_ranks(scores: FloatArray) -> FloatArray:
    """Scores ``[n, K]`` replaced by their mid-rank inside the fold, as a share of its size."""
    ranks: FloatArray = (rankdata(scores, axis=0) - 0.5) / max(1, len(scores))
    return ranks
