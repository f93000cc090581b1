"""Floors: what any pretraining must beat, on the same films and the same folds.

Chance is exact (0.5 for an AUC; :meth:`~crossray.evaluation.retrieval.RankCounts.chance` for retrieval). Frozen
ImageNet features go through the same probe and the same fine-tuning as the pretrained trunk; for a run that began with
random weights, features of random weights do. For retrieval, a ridge regression from those features to the report's
TF-IDF vector ranks reports by cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.retrieval import retrieval_ranks
from crossray.settings import Settings


class RidgeConfig(Settings):
    """Ridge from image features to TF-IDF; ``alpha`` chosen by R@``tune_at`` (both ways) on validation.

    ``centred`` takes the mean training vector off predictions and reports before the cosine. Without it a report near
    the mean text wins every query; on the IU films that halves R@10 of film → report, and a floor must be at its best.
    """

    alphas: tuple[float, ...] = (1e1, 1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)
    min_document_frequency: int = 2
    bigrams: bool = False
    centred: bool = True
    tune_at: int = 10


@dataclass(frozen=True)
class PairSplit:
    """Frozen image features ``[n, C]``, report texts and text groups ``[n]`` of one part of a fold."""

    features: NDArray[np.float32]
    texts: Sequence[str]
    text_groups: NDArray[np.int64]


@dataclass(frozen=True)
class RidgeResult:
    """Cosine of the predicted and the real TF-IDF vectors, ``[N, N]`` film by report, on test."""

    test_scores: FloatArray
    chosen_alpha: float
    validation_recall: tuple[float, ...]


def ridge_retrieval(train: PairSplit, validation: PairSplit, test: PairSplit, config: RidgeConfig) -> RidgeResult:
    """Fit on train, choose alpha on validation, score test. Vocabulary and standardisation come from train only."""
    words = _vocabulary(config, len(train.texts))
    ridge = _RidgePath(train.features, words.fit_transform(train.texts))

    def score(alpha: float, part: PairSplit) -> FloatArray:
        # Each distinct text is scored once, so that identical reports tie exactly.
        texts, place = np.unique(np.asarray(part.texts, dtype=object), return_inverse=True)
        centre = ridge.intercept if config.centred else 0.0
        candidates = words.transform(texts).toarray() - centre
        return _cosine(ridge.predict(part.features, alpha) - centre, candidates)[:, place]

    recall = [
        _recall_both_ways(score(alpha, validation), validation.text_groups, config.tune_at) for alpha in config.alphas
    ]
    best = int(np.argmax(recall))
    return RidgeResult(score(config.alphas[best], test), config.alphas[best], tuple(recall))


def word_features(
    train: Sequence[str], others: Sequence[Sequence[str]], config: RidgeConfig, most: int = 2000
) -> list[NDArray[np.float32]]:
    """TF-IDF vectors ``[n, V]`` of the training texts and of other parts, as the ridge knows them.

    Args:
        train: the vocabulary's texts.
        others: parts that are described in it.
        config: its settings.
        most: words at most, the frequent ones: these vectors are dense.
    """
    words = _vocabulary(config, len(train)).set_params(max_features=most)
    fitted = words.fit_transform(train)
    return [part.toarray().astype(np.float32) for part in (fitted, *(words.transform(texts) for texts in others))]


def _vocabulary(config: RidgeConfig, texts: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        min_df=min(config.min_document_frequency, texts),
        ngram_range=(1, 2 if config.bigrams else 1),
        sublinear_tf=True,
        token_pattern=r"(?u)\b[a-zA-Z]\w*\b",
    )


class _RidgePath:
    """Ridge regression for every alpha from one eigendecomposition; ``intercept [V]`` is the mean target."""

    def __init__(self, features: NDArray[np.float32], target: Any) -> None:
        """``features [n, C]``; ``target [n, V]`` a scipy sparse matrix."""
        self._mean, self._scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
        inputs = self._standardised(features)
        self._eigenvalues, self._axes = np.linalg.eigh(inputs.T @ inputs)
        # Standardised features sum to zero over the training rows, so the target need not be centred here.
        self._projected = self._axes.T @ (target.T @ inputs).T
        self.intercept = np.asarray(target.mean(axis=0)).ravel()

    def predict(self, features: NDArray[np.float32], alpha: float) -> FloatArray:
        """``[m, V]``."""
        along = (self._standardised(features) @ self._axes) / (np.maximum(self._eigenvalues, 0.0) + alpha)
        predicted: FloatArray = along @ self._projected + self.intercept
        return predicted

    def _standardised(self, features: NDArray[np.float32]) -> FloatArray:
        standardised: FloatArray = (features.astype(np.float64) - self._mean) / self._scale
        return standardised


def _recall_both_ways(scores: FloatArray, text_groups: NDArray[np.int64], k: int) -> float:
    ranks = retrieval_ranks(scores, text_groups)
    return float((ranks.image_to_text.hits(k).mean() + ranks.text_to_image.hits(k).mean()) / 2)


def _cosine(rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Cosine ``[N, M]`` of rows ``[N, D]`` and ``[M, D]``; a vector of zeros (no known word) scores zero."""
    result: FloatArray = _unit(rows) @ _unit(columns).T
    return result


def _unit(rows: FloatArray) -> FloatArray:
    result: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return result
