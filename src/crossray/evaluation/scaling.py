"""Scores into probabilities: temperature or Platt scaling, fitted on validation and applied to test.

Both keep the order of films, so AUROC and average precision stay as they are; calibration error, Brier score and a
threshold of 0.5 change. A similarity (zero-shot) has no scale of its own: a temperature alone leaves its zero where it
is, Platt's line moves it too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from crossray.errors import DataError
from crossray.evaluation.metrics import FloatArray
from crossray.inference.calibration import Scaling

#: Temperatures are sought between one over this and this: data that is parted without error knows no best one.
_WIDEST = 1000.0


def fit_temperature(scores: FloatArray, labels: FloatArray) -> Scaling:
    """The temperature that gives validation its highest likelihood.

    Args:
        scores: ``[n]`` log odds, as a head gives them.
        labels: ``[n]``, NaN unknown (left out).

    Raises:
        DataError: validation holds one class only.
    """
    scores, present = _validation(scores, labels)

    def loss(log_slope: float) -> float:
        return _log_loss(np.exp(log_slope) * scores, present.astype(np.float64))

    widest = float(np.log(_WIDEST))
    best = minimize_scalar(loss, bounds=(-widest, widest), method="bounded", options={"xatol": 1e-8})
    return Scaling(slope=float(np.exp(best.x)))


def fit_platt(scores: FloatArray, labels: FloatArray) -> Scaling:
    """Slope and offset by Platt's rule: the likelihood of targets that are drawn in a little.

    With P positives and N negatives the targets are (P + 1)/(P + 2) and 1/(N + 2), so that validation which is parted
    without error still has a best line. Arguments and errors as for :func:`fit_temperature`; scores of any scale.
    """
    scores, present = _validation(scores, labels)
    positives, negatives = int(present.sum()), int((~present).sum())
    targets = np.where(present, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Fitted on standardised scores, whatever the scale of a similarity, and taken back.
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    standard = (scores - centre) / spread

    def loss(line: FloatArray) -> tuple[float, FloatArray]:
        logits = line[0] * standard + line[1]
        error = expit(logits) - targets
        return _log_loss(logits, targets), np.array([(error * standard).mean(), error.mean()])

    start = np.array([1.0, np.log(positives / negatives)])
    slope, offset = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-9}).x / [spread, 1.0]
    return Scaling(slope=float(slope), offset=float(offset - slope * centre))


def _validation(scores: FloatArray, labels: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    known = ~np.isnan(labels)
    present = labels[known] > 0.5
    if len(np.unique(present)) < 2:
        raise DataError(
            "the validation side holds one class only: nothing can be calibrated on it.",
            remedy="Use a larger validation side, or leave the label out.",
        )
    return np.asarray(scores, dtype=np.float64)[known], present


def _log_loss(logits: FloatArray, targets: FloatArray) -> float:
    """Mean of -t log(sigmoid) - (1 - t) log(1 - sigmoid), without overflow."""
    return float((np.maximum(logits, 0) - targets * logits + np.log1p(np.exp(-np.abs(logits)))).mean())
