"""Linear probe: logistic regression on frozen features, its strength of regularisation chosen on validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.logistic import fit_logistic
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
    # Weakly regularised fits of separable data need no end; validation decides whether they are any good.
    fit = fit_logistic(
        parts[0],
        np.tile(train.labels, (1, grid)),
        np.repeat(config.c_grid, labels),
        max_steps=config.max_iterations,
    )
    validation_scores, test_scores = (
        fit.decision(part).reshape(len(part), grid, labels).transpose(1, 0, 2) for part in parts[1:]
    )
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


def _pick(scores: FloatArray, chosen: NDArray[np.intp]) -> FloatArray:
    return np.stack([scores[g, :, k] for k, g in enumerate(chosen)], axis=1)
