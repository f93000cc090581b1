"""The interval that LoVT publishes: over runs of one model, not over patients.

Spec: `localized_evaluation.md`, sections 2 and 7 (3.). It says how far another start of the training would have moved
the number; the bootstrap by patient says how far other patients would have. The first is printed beside the second for
comparison with published tables, never instead of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RunsInterval:
    """Mean of the runs and the published half-width ``1.96 s / sqrt(runs)``, s being the sample standard deviation.

    ``distinct`` counts different values. The published five runs share one seed, and eleven of LoVT's sixteen detection
    cells hold fewer than five: runs that repeat make an interval narrower than it is.
    """

    mean: float
    half_width: float
    runs: int
    distinct: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half_width:.3f} ({self.runs} runs)"


def runs_interval(values: Sequence[float]) -> RunsInterval:
    """Of one metric in several runs (five as published).

    Raises:
        ValueError: fewer than two runs, or one that is NaN.
    """
    found = np.asarray(values, dtype=np.float64)
    if len(found) < 2 or np.isnan(found).any():
        raise ValueError(f"an interval over runs needs two values or more, none of them NaN; there are {values}")
    half_width = 1.96 * float(found.std(ddof=1)) / float(np.sqrt(len(found)))
    return RunsInterval(float(found.mean()), half_width, len(found), len(np.unique(found)))
