"""One class of several: accuracy, macro precision, recall and F1, and Cohen's kappa, from confusion matrices.

For sets such as CheXpert 5x200, where each film has one class (`downstream_protocols.md`, sections 3.2 and 9 (3.)). A
draw's confusion matrix is a weighted sum over films, so a bootstrap costs one product. Values are those of scikit-learn
with ``zero_division=0``: a class never called has precision 0, and counts in the macro mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.metrics import FloatArray, quotient


def confusion(
    called: NDArray[np.int64], truth: NDArray[np.int64], classes: int, weights: FloatArray | None = None
) -> FloatArray:
    """``[draws, K, K]`` films by true class (row) and called class (column).

    Args:
        called, truth: ``[n]`` from 0 to ``classes`` - 1.
        classes: K.
        weights: ``[draws, n]``; ``None`` = every film once, one draw.

    Raises:
        ValueError: a class outside that range.
    """
    for name, values in (("called", called), ("true", truth)):
        if len(values) and (values.min() < 0 or values.max() >= classes):
            raise ValueError(f"a {name} class lies outside 0..{classes - 1}")
    drawn = np.ones((1, len(truth))) if weights is None else weights
    cell: FloatArray = np.eye(classes * classes)[truth * classes + called]
    return np.asarray(drawn @ cell).reshape(len(drawn), classes, classes)


def called_class(scores: FloatArray) -> NDArray[np.int64]:
    """``[n]`` the class of the highest score ``[n, K]``; of equal ones the first.

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    highest: NDArray[np.int64] = scores.argmax(axis=1).astype(np.int64)
    return highest


def multiclass_measures(confusions: FloatArray) -> dict[str, FloatArray]:
    """Every measure ``[draws]`` of confusion matrices ``[draws, K, K]``, by its name in tables.

    Kappa is NaN where chance agrees with certainty (everything is, and is called, one class).
    """
    total = confusions.sum(axis=(1, 2))
    right = np.diagonal(confusions, axis1=1, axis2=2)
    of_class, of_call = confusions.sum(axis=2), confusions.sum(axis=1)
    agreed = quotient(right.sum(axis=1), total)
    by_chance = quotient((of_class * of_call).sum(axis=1), total**2)
    return {
        "accuracy": agreed,
        "macro precision": _macro(right, of_call),
        "macro recall": _macro(right, of_class),
        "macro F1": _macro(2 * right, of_class + of_call),
        "Cohen's kappa": quotient(agreed - by_chance, 1 - by_chance),
    }


def _macro(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    mean: FloatArray = np.nan_to_num(quotient(numerator, denominator), nan=0.0).mean(axis=1)
    return mean
