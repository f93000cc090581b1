"""Calibration: whether of the films called 70 % likely, 70 % have the finding.

All for one binary label, on the probability that it is *present*. (The calibration error of the multi-class literature
takes the probability of whatever class was called; the two are other numbers.) Bins are closed at their upper edge, as
scikit-learn's ``calibration_curve`` has them.

Trap: the calibration error of a finite sample is above 0 for perfectly calibrated probabilities, the more so the fewer
films a bin has; its bootstrap draws lie higher still, since drawing repeats films. Compare it between models on the
same films, not with 0. The Brier score has no such bias, but mixes calibration with how well classes are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from crossray.evaluation.metrics import FloatArray, quotient, weighted_mean

Binning = Literal["equal_width", "equal_mass"]

ECE, BRIER = "ECE", "Brier"
"""The names of :func:`equal_mass_error` and :func:`brier` in tables."""

BINS = 10
"""Of the tables and figures of reports, of equal mass."""


@dataclass(frozen=True)
class Reliability:
    """Points of the reliability curve, empty bins left out: mean probability, share of present, films, each ``[B]``."""

    probability: FloatArray
    frequency: FloatArray
    count: FloatArray


def bin_edges(probabilities: FloatArray, bins: int = 15, binning: Binning = "equal_width") -> FloatArray:
    """``[bins + 1]`` edges: of equal width on 0..1, or so that each bin holds equally many of ``probabilities [n]``.

    Equal probabilities are never parted, so bins of equal mass may be uneven, or empty, where values repeat.
    """
    places = np.linspace(0.0, 1.0, bins + 1)
    return places if binning == "equal_width" else np.quantile(probabilities, places)


def reliability(probabilities: FloatArray, labels: FloatArray, edges: FloatArray) -> Reliability:
    """The reliability curve of one label (``labels [n]``, NaN unknown: left out)."""
    probabilities, labels, _ = _known(probabilities, labels, None)
    member = _membership(probabilities, edges)
    count = member.sum(axis=0)
    seen = count > 0
    return Reliability(
        probability=quotient(probabilities @ member, count)[seen],
        frequency=quotient((labels > 0.5) @ member, count)[seen],
        count=count[seen],
    )


def expected_calibration_error(
    probabilities: FloatArray, labels: FloatArray, edges: FloatArray, weights: FloatArray | None = None
) -> FloatArray:
    """Mean over films of |mean probability - share of present| of their bin, ``[draws]``.

    Args:
        probabilities: ``[n]`` from 0 to 1.
        labels: ``[n]``, 1 present, 0 absent, NaN unknown (left out).
        edges: ``[B + 1]`` (:func:`bin_edges`). They are held for all draws: bins of equal mass are made once, from the
            whole sample.
        weights: ``[draws, n]``; ``None`` = every film once, one draw.

    Raises:
        ValueError: a probability outside 0..1, or NaN.
    """
    probabilities, labels, drawn = _known(probabilities, labels, weights)
    member = _membership(probabilities, edges)
    # Share of the bin times its gap is |sum of probabilities - number present| / films.
    gaps = drawn @ (member * (probabilities - (labels > 0.5))[:, None])
    return quotient(np.abs(gaps).sum(axis=1), drawn.sum(axis=1))


def equal_mass_error(probabilities: FloatArray, labels: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """:func:`expected_calibration_error` in :data:`BINS` of equal mass, as reports print it; NaN of nothing known."""
    known = ~np.isnan(labels)
    if not known.any():
        return np.full(1 if weights is None else len(weights), np.nan)
    edges = bin_edges(probabilities[known], BINS, "equal_mass")
    return expected_calibration_error(probabilities, labels, edges, weights)


def brier(probabilities: FloatArray, labels: FloatArray, weights: FloatArray | None = None) -> FloatArray:
    """Mean squared difference of probability and label, ``[draws]``; arguments and errors as above."""
    probabilities, labels, drawn = _known(probabilities, labels, weights)
    return weighted_mean((probabilities - (labels > 0.5)) ** 2, drawn)


def _known(
    probabilities: FloatArray, labels: FloatArray, weights: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows whose label is known, with their weights."""
    known = ~np.isnan(labels)
    probabilities = np.asarray(probabilities, dtype=np.float64)[known]
    # Written so that NaN fails it too.
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("a probability is not between 0 and 1; scores need a sigmoid first")
    drawn = np.ones((1, len(known))) if weights is None else weights
    return probabilities, labels[known], drawn[:, known]


def _membership(probabilities: FloatArray, edges: FloatArray) -> FloatArray:
    """``[n, B]``, 1 in the bin that each film falls in."""
    member: FloatArray = np.eye(len(edges) - 1)[np.searchsorted(edges[1:-1], probabilities)]
    return member
