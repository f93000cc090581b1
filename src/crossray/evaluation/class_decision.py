"""Zero-shot decisions between classes: which one of several a film shows, where it shows exactly one of them.

Spec: `downstream_protocols.md`, sections 3.2, 3.3 and 9 (3.). Films are those of the list of retrieval by class (as
CheXpert 5x200), scores those of zero-shot classification. The class with the highest score is called, once by the
scores as they are and once after each class was standardised over the listed films of a fold (GLoRIA): calls of the
latter kind depend on the other films.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from crossray.evaluation.cells import Arrays
from crossray.evaluation.classification.multiclass import called_class, confusion, multiclass_measures
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.results import Row
from crossray.evaluation.retrieval import IntArray
from crossray.evaluation.rows import Evaluated, metric_rows
from crossray.evaluation.summary import Sampled, patient_weights
from crossray.evaluation.tasks import patients_of
from crossray.evaluation.zero_shot import Normalisation, normalise_scores

TASK = "class_decision"

#: How a class is called, as tables say it.
CALLS: Mapping[str, Normalisation] = {
    "the highest score": "none",
    "the highest score, each class z-scored over the films": "zscore",
}

FoldCells = Sequence[tuple[str, Arrays]]


def class_decision_rows(scored: Mapping[Evaluated, FoldCells], listed: FoldCells, protocol: Protocol) -> list[Row]:
    """Accuracy, macro precision, recall and F1, and Cohen's kappa of every zero-shot scorer.

    Args:
        scored: zero-shot cells of whole test sides.
        listed: cells of retrieval by class, which say of which class alone a study is.
        protocol: the classes, and the labels that scores are of.

    Where a class is no label or has no prompts (it then scores alike everywhere), there are no rows.
    """
    names = protocol.class_retrieval.classes
    columns = [protocol.labels.index(name) for name in names if name in protocol.labels]
    if len(columns) < len(names) or not all(_says_something(cells, columns) for cells in scored.values()):
        return []
    truth = np.concatenate([cell["classes"] for _, cell in listed])
    weights = np.concatenate([patient_weights(fold, patients_of(cell), protocol) for fold, cell in listed], axis=1)
    chance = {"accuracy": 1 / len(names), "macro recall": 1 / len(names), "Cohen's kappa": 0.0}
    rows: list[Row] = []
    for target, normalisation in CALLS.items():
        base = {"task": TASK, "target": f"one of {len(names)}, {target}", "n": len(truth)}
        sampled = {
            who: _sampled(_called(cells, listed, columns, normalisation), truth, len(names), weights)
            for who, cells in scored.items()
        }
        rows += metric_rows(base, chance, sampled, [], protocol.level)
    return rows


def _says_something(cells: FoldCells, columns: Sequence[int]) -> bool:
    return all(bool(np.ptp(cell["scores"][:, columns], axis=0).all()) for _, cell in cells)


def _called(cells: FoldCells, listed: FoldCells, columns: Sequence[int], normalisation: Normalisation) -> IntArray:
    """``[m]`` the class that each listed study is called, fold by fold."""
    by_fold, called = dict(cells), []
    for fold, own in listed:
        whole = by_fold[fold]
        place = {study_id: row for row, study_id in enumerate(whole["study_ids"].tolist())}
        rows = [place[study_id] for study_id in own["study_ids"].tolist()]
        called.append(called_class(normalise_scores(whole["scores"][rows][:, columns], normalisation)))
    return np.concatenate(called)


def _sampled(called: IntArray, truth: IntArray, classes: int, weights: FloatArray) -> dict[str, Sampled]:
    estimate = multiclass_measures(confusion(called, truth, classes))
    draws = multiclass_measures(confusion(called, truth, classes, weights))
    return {metric: Sampled(value, draws[metric][:, None]) for metric, value in estimate.items()}
