"""Operating points: a threshold is chosen on validation by a named rule, and then only applied to test.

A threshold that is chosen where it is reported flatters: a small test set finds its own best cut. The interval of an
applied point is that of the test films with the threshold held; how far another validation side would have moved the
threshold is not in it. Spec: `downstream_protocols.md`, section 9 (2.).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from crossray.errors import DataError
from crossray.evaluation.classification.binary import BinaryCounts
from crossray.evaluation.metrics import FloatArray
from crossray.settings import Settings

#: Counts are whole numbers, a target is not: a sensitivity of 0.9 of 10 positives is reached by 9.
_ROUNDING = 1e-9


class OperatingRule(Settings):
    """How a threshold is chosen.

    Attributes:
        kind: ``fixed`` (0.5 for probabilities); ``youden`` (highest sensitivity + specificity - 1); ``f1`` (highest
            F1); ``sensitivity``: the highest threshold that reaches ``target``, which leaves the most specificity;
            ``specificity``: the lowest threshold that reaches it.
        target: the threshold itself, or the sensitivity or specificity to be reached.
    """

    kind: Literal["fixed", "youden", "f1", "sensitivity", "specificity"] = "youden"
    target: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _has_its_target(self) -> OperatingRule:
        needed = self.kind in ("fixed", "sensitivity", "specificity")
        if needed != (self.target is not None):
            raise ValueError(f"rule '{self.kind}' takes {'a' if needed else 'no'} target")
        return self

    @property
    def name(self) -> str:
        """How tables call it."""
        if self.kind == "fixed":
            return f"threshold {self.target:g}"
        if self.target is not None:
            return f"{self.kind} of {self.target:g} on validation"
        return {"youden": "Youden on validation", "f1": "best F1 on validation"}[self.kind]


def choose_thresholds(scores: FloatArray, labels: FloatArray, rule: OperatingRule) -> FloatArray:
    """``[K]`` thresholds of K labels, chosen on validation ``[n, K]`` (labels NaN where unknown).

    Candidates are the scores themselves and infinity, which calls nobody. Of equally good ones the highest is taken.

    Raises:
        DataError: a label has one class only on validation, and the rule needs both.
    """
    if rule.kind == "fixed":
        return np.full(labels.shape[1], rule.target, dtype=np.float64)
    return np.array([_choose(scores[:, k], labels[:, k], rule, k) for k in range(labels.shape[1])])


def _choose(scores: FloatArray, labels: FloatArray, rule: OperatingRule, label: int) -> float:
    known = ~np.isnan(labels)
    scores, labels = scores[known], labels[known]
    if len(np.unique(labels > 0.5)) < 2:
        raise DataError(
            f"label {label + 1} has one class only on the validation side: no threshold can be chosen.",
            remedy="Use a larger validation side, or a fixed threshold.",
        )
    candidates = np.append(np.inf, np.unique(scores)[::-1])
    found = _measures_at(candidates, scores, labels > 0.5)
    sensitivity, specificity = found["sensitivity"], found["specificity"]
    if rule.kind == "youden":
        return float(candidates[np.argmax(sensitivity + specificity)])
    if rule.kind == "f1":
        return float(candidates[np.argmax(np.nan_to_num(found["F1"], nan=0.0))])
    reached = (sensitivity if rule.kind == "sensitivity" else specificity) >= (rule.target or 0.0) - _ROUNDING
    # Sensitivity grows and specificity falls from candidate to candidate; both ends are always reachable.
    place = np.flatnonzero(reached)
    return float(candidates[place[0] if rule.kind == "sensitivity" else place[-1]])


def _measures_at(candidates: FloatArray, scores: FloatArray, present: NDArray[np.bool_]) -> dict[str, FloatArray]:
    """Measures ``[C]`` at falling thresholds, by counting from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    called = np.searchsorted(-scores[order], -candidates, side="right")
    positives = np.append(0, np.cumsum(present[order]))[called].astype(np.float64)[None]
    negatives = called[None] - positives
    all_positives, all_negatives = float(present.sum()), float((~present).sum())
    counts = BinaryCounts(positives, negatives, all_positives - positives, all_negatives - negatives)
    return {name: values[0] for name, values in counts.measures().items()}
