"""The bootstrap of AUROC as it is usually written: rows are drawn, and scikit-learn is asked, draw by draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score


def bootstrap_auroc(
    scores: NDArray[np.float64], labels: NDArray[np.float64], drawn: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``[draws, K]`` from scores and labels ``[n, K]`` and the rows of each draw ``[draws, n]``."""
    result = np.empty((len(drawn), labels.shape[1]))
    for draw, rows in enumerate(drawn):
        for k in range(labels.shape[1]):
            result[draw, k] = roc_auc_score(labels[rows, k], scores[rows, k])
    return result
