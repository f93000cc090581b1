"""Bootstrap intervals: patients are drawn, not films, and inside their fold.

A draw is a vector of counts over rows (see :mod:`crossray.evaluation.metrics`), so the interval of any metric
is one batched call. Two models are compared on the same draws: that is what makes a difference *paired*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.metrics import FloatArray


@dataclass(frozen=True)
class Interval:
    """An estimate with the percentile interval of its bootstrap draws.

    ``undefined_draws`` counts the draws in which the metric was not defined; they are left out of the interval.
    ``sample`` holds the draws themselves ``[draws]``, for paired differences that are asked for later.
    """

    estimate: float
    low: float
    high: float
    level: float
    draws: int
    undefined_draws: int = 0
    sample: FloatArray | None = field(default=None, compare=False, repr=False)


def clusters(patient_ids: Sequence[str | None]) -> NDArray[np.int64]:
    """Whole numbers, equal for rows of one patient; a row of an unknown patient stands alone."""
    known: dict[str, int] = {}
    result = np.empty(len(patient_ids), dtype=np.int64)
    for row, patient in enumerate(patient_ids):
        # A key no patient id can collide with: unknown patients are told apart by their row.
        key = f"row:{row}" if patient is None else f"patient:{patient}"
        result[row] = known.setdefault(key, len(known))
    return result


def bootstrap_weights(patient_ids: Sequence[str | None], *, draws: int, seed: int, stratum: str = "") -> FloatArray:
    """Counts ``[draws, n]`` of rows when patients are drawn with replacement.

    Args:
        patient_ids: one for each row.
        draws: number of bootstrap draws.
        seed: the same seed and ``stratum`` give the same draws, whatever else is evaluated.
        stratum: name of the fold; each fold draws its own patients.
    """
    groups = clusters(patient_ids)
    count = int(groups.max()) + 1 if len(groups) else 0
    if count == 0:
        return np.zeros((draws, 0))
    generator = np.random.default_rng([seed, _digest(stratum)])
    drawn = generator.integers(0, count, size=(draws, count))
    flat = np.bincount((drawn + count * np.arange(draws)[:, None]).ravel(), minlength=draws * count)
    return flat.reshape(draws, count)[:, groups].astype(np.float64)


def percentile_interval(estimate: float, draws: FloatArray, level: float = 0.95) -> Interval:
    """The central ``level`` of the draws; NaN bounds if no draw is defined."""
    defined = draws[~np.isnan(draws)]
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (np.nan, np.nan)
    return Interval(
        estimate=float(estimate),
        low=float(low),
        high=float(high),
        level=level,
        draws=len(draws),
        undefined_draws=len(draws) - len(defined),
        sample=draws,
    )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
