"""From scored phrases to result rows: means over phrases with intervals by patient, for all phrases and by finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.cells import Arrays
from crossray.evaluation.grounding import POINTING, chance_scores
from crossray.evaluation.grounding_floors import BLIND
from crossray.evaluation.grounding_task import METRICS
from crossray.evaluation.intervals import bootstrap_weights
from crossray.evaluation.metrics import FloatArray, macro_mean, weighted_mean
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.results import Row, row_of
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.summary import Sampled

ALL_PHRASES = "all phrases"
MEAN_OF_FINDINGS = "mean of the findings"
MISSED_BLIND = "phrases that no blind map hits"
"""Phrases whose place no map hits that never looks at the film (``grounding_floors.BLIND``). Those maps score nothing
here by construction; a method that has learned no more of words than they know scores nothing either."""


@dataclass(frozen=True)
class FoldPhrases:
    """The scored phrases of one fold.

    Attributes:
        fold: its name.
        patients: ``[P]``; phrases of one study share one even where the patient is unknown.
        findings: ``[P]``.
        area: ``[P]`` the boxes' share of the film.
        values: metric → ``[P]``.
    """

    fold: str
    patients: tuple[str, ...]
    findings: tuple[str, ...]
    area: FloatArray
    values: Mapping[str, FloatArray]


def fold_phrases(fold: str, cell: Arrays) -> FoldPhrases:
    """A grounding cell as scored phrases."""
    pairs = zip(cell["patient_ids"].tolist(), cell["study_ids"].tolist(), strict=True)
    return FoldPhrases(
        fold=fold,
        patients=tuple(f"patient:{patient}" if patient else f"study:{study}" for patient, study in pairs),
        findings=tuple(cell["findings"].tolist()),
        area=cell["area"],
        values={name: cell[name] for name in METRICS if name in cell},
    )


def grounding_rows(
    predictions: Mapping[Evaluated, Sequence[FoldPhrases]],
    differences: Sequence[tuple[Evaluated, Evaluated]],
    protocol: Protocol,
) -> list[Row]:
    """Every metric for all phrases, the mean over findings, each finding, and the phrases that blind maps miss.

    Every prediction must cover the same phrases in the same order, which makes the differences paired.
    """
    values = {who: _joined(folds) for who, folds in predictions.items()}
    blind = [own[POINTING] for who, own in values.items() if who.model in BLIND]
    missed = np.max(blind, axis=0) < 0.5 if blind else None
    table = _Table.of(next(iter(predictions.values())), protocol, missed)
    sampled = {who: {m: table.sample(v) for m, v in own.items()} for who, own in values.items()}
    area = np.concatenate([fold.area for fold in next(iter(predictions.values()))])
    rows = []
    for metric, chance in chance_scores(area).items():
        estimate = table.sample(chance).estimate
        for target, value in zip(table.targets, estimate.tolist(), strict=True):
            fields = table.fields(target, metric, "chance", "chance")
            rows.append(Row.model_validate({**fields, "value": value}))
    for who, samples in sampled.items():
        rows += [row for metric, sample in samples.items() for row in table.rows(who.model, metric, who.kind, sample)]
    for first, second in differences:
        name = f"{first.model} − {second.model}"
        shared = [metric for metric in sampled[first] if metric in sampled[second]]
        rows += [
            row
            for metric in shared
            for row in table.rows(name, metric, "difference", sampled[first][metric].minus(sampled[second][metric]))
        ]
    return rows


@dataclass(frozen=True)
class _Table:
    """Targets (all phrases, mean of the findings, each finding, the missed), their phrases, the bootstrap's draws."""

    protocol: Protocol
    findings: tuple[str, ...]
    finding_of: NDArray[np.int64]
    weights: FloatArray
    missed: NDArray[np.bool_] | None

    @classmethod
    def of(cls, folds: Sequence[FoldPhrases], protocol: Protocol, missed: NDArray[np.bool_] | None) -> _Table:
        names = [finding for fold in folds for finding in fold.findings]
        findings = sorted(set(names))
        weights = [
            bootstrap_weights(fold.patients, draws=protocol.draws, seed=protocol.seed, stratum=fold.fold)
            for fold in folds
        ]
        places = np.array([findings.index(name) for name in names], dtype=np.int64)
        asked = missed if missed is not None and missed.any() else None
        return cls(protocol, tuple(findings), places, np.concatenate(weights, axis=1), asked)

    @property
    def targets(self) -> tuple[str, ...]:
        return (ALL_PHRASES, MEAN_OF_FINDINGS, *self.findings, *(() if self.missed is None else (MISSED_BLIND,)))

    def sample(self, values: FloatArray) -> Sampled:
        """Means of ``values [P]``, one column a target; phrases for which the metric is undefined are left out."""
        known = ~np.isnan(values)
        parts = [known, *(known & (self.finding_of == place) for place in range(len(self.findings)))]
        parts += [] if self.missed is None else [known & self.missed]
        once = np.ones((1, len(values)))
        estimates, draws = (
            np.stack([weighted_mean(values[part], weights[:, part]) for part in parts], axis=1)
            for weights in (once, self.weights)
        )
        findings = slice(1, 1 + len(self.findings))
        return Sampled(_with_mean(estimates, findings)[0], _with_mean(draws, findings))

    def rows(self, model: str, metric: str, kind: str, sample: Sampled) -> list[Row]:
        return [
            row_of(sample.interval(column, self.protocol.level), **self.fields(target, metric, model, kind))
            for column, target in enumerate(self.targets)
        ]

    def fields(self, target: str, metric: str, model: str, kind: str) -> dict[str, object]:
        count: int | None = len(self.finding_of)
        if target == MEAN_OF_FINDINGS:
            count = None
        elif target == MISSED_BLIND and self.missed is not None:
            count = int(self.missed.sum())
        elif target != ALL_PHRASES:
            count = int((self.finding_of == self.findings.index(target)).sum())
        return {"task": "grounding", "model": model, "metric": metric, "target": target, "kind": kind, "n": count}


def _joined(folds: Sequence[FoldPhrases]) -> dict[str, FloatArray]:
    return {metric: np.concatenate([fold.values[metric] for fold in folds]) for metric in folds[0].values}


def _with_mean(columns: FloatArray, findings: slice) -> FloatArray:
    """The first column (all phrases), the mean of the findings' columns, then these and what follows them."""
    return np.concatenate([columns[:, :1], macro_mean(columns[:, findings])[:, None], columns[:, 1:]], axis=1)
