"""Linear probe: logistic regression on frozen features, its strength of regularisation chosen on validation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.metrics import FloatArray, auroc, macro_mean, per_label
from crossray.settings import Settings


class ProbeConfig(Settings):
    """How the probe is fitted.

    ``tuning``: one C for all labels, chosen by macro AUC on validation (``shared``; steady where a label has a
    handful of positives there), or one for each label (``per_label``).
    """

    c_grid: tuple[float, ...] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    tuning: Literal["shared", "per_label"] = "shared"
    max_iterations: int = 1000


@dataclass(frozen=True)
class ProbeResult:
    """Decision values ``[n, K]`` of the chosen models and how they were chosen.

    ``validation_auc [len(c_grid), K]`` is the whole tuning table; ``chosen_c`` has one value a label.
    """

    validation_scores: FloatArray
    test_scores: FloatArray
    chosen_c: tuple[float, ...]
    validation_auc: FloatArray


@dataclass(frozen=True)
class FeatureSplit:
    """Frozen features ``[n, C]`` with labels ``[n, K]`` (NaN unknown) of one part of a fold."""

    features: NDArray[np.float32]
    labels: FloatArray


def linear_probe(
    train: FeatureSplit, validation: FeatureSplit, test_features: NDArray[np.float32], config: ProbeConfig
) -> ProbeResult:
    """Fit one logistic regression for each label and C; keep the C that ranks validation best.

    Features are standardised by the training part. A label with a single class in training scores zero
    everywhere: it knows nothing, and its AUC is then 0.5 or undefined.
    """
    mean, scale = _standardisation(train.features)
    parts = [(part - mean) / scale for part in (train.features, validation.features, test_features)]
    grid, labels = len(config.c_grid), train.labels.shape[1]
    validation_scores = np.zeros((grid, len(parts[1]), labels))
    test_scores = np.zeros((grid, len(parts[2]), labels))
    for k in range(labels):
        for g, c in enumerate(config.c_grid):
            weight, bias = _fit(parts[0], train.labels[:, k], c, config.max_iterations)
            validation_scores[g, :, k] = parts[1] @ weight + bias
            test_scores[g, :, k] = parts[2] @ weight + bias
    table = np.stack([per_label(auroc, scores, validation.labels)[0] for scores in validation_scores])
    chosen = choose_row(table, shared=config.tuning == "shared")
    return ProbeResult(
        validation_scores=_pick(validation_scores, chosen),
        test_scores=_pick(test_scores, chosen),
        chosen_c=tuple(config.c_grid[g] for g in chosen),
        validation_auc=table,
    )


def choose_row(table: FloatArray, *, shared: bool) -> NDArray[np.intp]:
    """The row of a tuning table ``[grid, K]`` to use for each label; ties and all-NaN columns take the first row."""
    macro = np.nan_to_num(macro_mean(table), nan=-np.inf)
    shared_row = int(np.argmax(macro))
    if shared:
        return np.full(table.shape[1], shared_row, dtype=np.intp)
    defined = ~np.isnan(table).all(axis=0)
    each = np.argmax(np.nan_to_num(table, nan=-np.inf), axis=0)
    return np.where(defined, each, shared_row).astype(np.intp)


def _standardisation(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    scale = features.std(axis=0)
    return features.mean(axis=0), np.where(scale > 1e-6, scale, 1.0).astype(np.float32)


def _fit(features: NDArray[np.float32], labels: FloatArray, c: float, max_iterations: int) -> tuple[FloatArray, float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    known = ~np.isnan(labels)
    present = labels[known] > 0.5
    if len(np.unique(present)) < 2:
        return np.zeros(features.shape[1]), 0.0
    model = LogisticRegression(C=c, max_iter=max_iterations, tol=1e-4)
    with warnings.catch_warnings():
        # Weakly regularised fits of separable data never converge; validation decides whether they are any good.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features[known], present)
    return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0])


def _pick(scores: FloatArray, chosen: NDArray[np.intp]) -> FloatArray:
    return np.stack([scores[g, :, k] for k, g in enumerate(chosen)], axis=1)
