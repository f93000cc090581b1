"""ROC, precision-recall and reliability curves of the findings, from the scores that the cells keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import precision_recall_curve, roc_curve

from crossray.evaluation.calibration import BINS, Reliability, bin_edges, expected_calibration_error, reliability
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.results import Results
from crossray.evaluation.rows import LOG_ODDS, Evaluated
from crossray.evaluation.summary import FoldScores, mid_ranks
from crossray.evaluation.tables import with_interval

SHOWN = 6
"""Labels shown at most: those that the protocol calls common, else those with the most positives."""

_POINTS = 200


@dataclass(frozen=True)
class LabelCurves:
    """One label's curves.

    Attributes:
        label, note: its name; its positives, and AUROC with interval as the table has it.
        roc: ``[P, 2]`` false and true positive rate.
        precision_recall: ``[P, 2]`` recall and precision.
        prevalence: precision of calling everything.
        reliable: reliability of the scores as probabilities; ``None`` where they are none.
        calibration_error: expected, in bins of equal mass; ``None`` likewise.
    """

    label: str
    note: str
    roc: FloatArray
    precision_recall: FloatArray
    prevalence: float
    reliable: Reliability | None = None
    calibration_error: float | None = None


def label_curves(
    task: str, who: Evaluated, folds: Sequence[FoldScores], protocol: Protocol, results: Results
) -> list[LabelCurves]:
    """Curves of the labels that are shown, over the studies of all folds.

    Scores of several folds are ranked together by their mid-rank inside the fold, as the pooled AUROC of the table;
    reliability takes the probabilities as they are.
    """
    scores = folds[0].scores if len(folds) == 1 else np.concatenate([mid_ranks(fold.scores) for fold in folds])
    raw = np.concatenate([fold.scores for fold in folds])
    labels = np.concatenate([fold.labels for fold in folds])
    found = []
    for column in shown_labels(labels, protocol):
        known = ~np.isnan(labels[:, column])
        truth = labels[known, column] > 0.5
        label = protocol.labels[column]
        note = _note(task, who, label, int(truth.sum()), results)
        log_odds = raw[known, column] if task in LOG_ODDS else None
        found.append(curves_of(label, note, truth, scores[known, column], log_odds))
    return found


def curves_of(
    label: str, note: str, truth: NDArray[np.bool_], scores: FloatArray, log_odds: FloatArray | None
) -> LabelCurves:
    """The curves of one label: ``truth`` and ``scores`` are ``[n]``, as are ``log_odds`` where there are any."""
    false, true, _ = roc_curve(truth, scores)
    precision, recall, _ = precision_recall_curve(truth, scores)
    calibrated = _calibration(log_odds, truth) if log_odds is not None else (None, None)
    return LabelCurves(
        label=label,
        note=note,
        roc=_thinned(np.stack([false, true], axis=1)),
        precision_recall=_thinned(np.stack([recall, precision], axis=1)),
        prevalence=float(truth.mean()),
        reliable=calibrated[0],
        calibration_error=calibrated[1],
    )


def shown_labels(labels: FloatArray, protocol: Protocol) -> list[int]:
    """Columns of ``labels [n, K]`` that are shown: they have both classes, and are at most :data:`SHOWN`."""
    positives, negatives = (labels > 0.5).sum(axis=0), (labels <= 0.5).sum(axis=0)
    both = [column for column in range(labels.shape[1]) if positives[column] and negatives[column]]
    common = [column for column in both if protocol.labels[column] in protocol.common_labels]
    chosen = common or sorted(both, key=lambda column: -int(positives[column]))
    return sorted(chosen[:SHOWN])


def _calibration(log_odds: FloatArray, truth: NDArray[np.bool_]) -> tuple[Reliability, float]:
    probabilities, labels = expit(log_odds), truth.astype(np.float64)
    edges = bin_edges(probabilities, BINS, "equal_mass")
    error = float(expected_calibration_error(probabilities, labels, edges)[0])
    return reliability(probabilities, labels, edges), error


def _note(task: str, who: Evaluated, label: str, positives: int, results: Results) -> str:
    of_label = {"task": task, "target": label, "model": who.model, "variant": who.variant}
    # Of several folds the curve is the pooled one; AUROC alone is the mean of theirs, which no curve encloses.
    rows = results.select(metric="AUROC, pooled", **of_label) or results.select(metric="AUROC", **of_label)
    if not rows or rows[0].value is None:
        return f"n⁺ {positives}"
    return f"n⁺ {positives}, AUROC {with_interval(rows[0].value, rows[0].low, rows[0].high)}"


def _thinned(points: FloatArray) -> FloatArray:
    """At most :data:`_POINTS` of a curve's points, its ends among them."""
    if len(points) <= _POINTS:
        return points
    kept = np.unique(np.linspace(0, len(points) - 1, _POINTS).round().astype(int))
    return np.asarray(points[kept])
