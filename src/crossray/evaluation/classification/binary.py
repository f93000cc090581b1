"""Calls at a threshold and what they are worth: sensitivity, specificity, predictive values, F1, accuracy.

Counts are sums over rows, so a bootstrap draw (``weights [draws, n]``, see :mod:`crossray.evaluation.metrics`) is a
weighted sum, exactly that of the rows written out so often. Values agree with scikit-learn's, except that what is not
defined is NaN here and not 0 with a warning. Spec: `downstream_protocols.md`, section 9 (2.).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossray.evaluation.metrics import FloatArray, quotient


@dataclass(frozen=True)
class BinaryCounts:
    """Rows called and not, by what they are: each ``[draws, K]``."""

    true_positive: FloatArray
    false_positive: FloatArray
    false_negative: FloatArray
    true_negative: FloatArray

    def measures(self) -> dict[str, FloatArray]:
        """Every measure ``[draws, K]`` by its name in tables; NaN where its denominator is 0."""
        called, positive = self.true_positive + self.false_positive, self.true_positive + self.false_negative
        passed, negative = self.true_negative + self.false_negative, self.true_negative + self.false_positive
        return {
            "sensitivity": quotient(self.true_positive, positive),
            "specificity": quotient(self.true_negative, negative),
            "positive predictive value": quotient(self.true_positive, called),
            "negative predictive value": quotient(self.true_negative, passed),
            "F1": self.f1(),
            "accuracy": quotient(self.true_positive + self.true_negative, positive + negative),
        }

    def f1(self) -> FloatArray:
        """``2TP / (2TP + FP + FN)`` of the positive class, ``[draws, K]``."""
        twice = 2 * self.true_positive
        return quotient(twice, twice + self.false_positive + self.false_negative)


def argmax_counts(differences: FloatArray, labels: FloatArray, weights: FloatArray | None = None) -> BinaryCounts:
    """Counts where a label is called if its logit is larger than that of its absence; of equal ones the first, absence.

    Args:
        differences: ``[n, K]`` present minus absent.
        labels, weights: as of :func:`binary_counts`.
    """
    return binary_counts(differences, labels, float(np.nextafter(0.0, 1.0)), weights)


def binary_counts(
    scores: FloatArray, labels: FloatArray, thresholds: FloatArray | float, weights: FloatArray | None = None
) -> BinaryCounts:
    """Counts of K labels; a row is called where its score is at least the threshold.

    Args:
        scores: ``[n, K]``.
        labels: ``[n, K]``, 1 present, 0 absent, NaN unknown (the row is left out of that label).
        thresholds: ``[K]``, or one for all (0.5 for probabilities).
        weights: ``[draws, n]``; ``None`` = every row once, one draw.

    Raises:
        ValueError: shapes differ, or the score of a labelled row is NaN.
    """
    if scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} differ in shape")
    known = ~np.isnan(labels)
    if np.isnan(scores[known]).any():
        raise ValueError("a score of a labelled row is NaN")
    drawn = np.ones((1, len(labels))) if weights is None else weights
    called, present = scores >= thresholds, labels > 0.5
    return BinaryCounts(
        true_positive=drawn @ (called & present),
        false_positive=drawn @ (called & known & ~present),
        false_negative=drawn @ (~called & present),
        true_negative=drawn @ (~called & known & ~present),
    )
