"""From predictions to result rows: models, floors, chance, and paired differences, under one protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import expit

from crossray.data.class_list import NO_FINDING
from crossray.evaluation.calibration import BRIER, ECE, brier, equal_mass_error
from crossray.evaluation.intervals import percentile_interval
from crossray.evaluation.metrics import FloatArray, LabelMetric, auroc, average_precision
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.results import Row, row_of
from crossray.evaluation.retrieval import chance_median_rank
from crossray.evaluation.summary import (
    FoldRanks,
    FoldScores,
    Sampled,
    chance_recall,
    positives_and_known,
    sample_classification,
    sample_median_rank,
    sample_recall,
)

Kind = Literal["model", "floor", "variant"]

MACRO = "mean of all"
COMMON = "mean of the common"
BY_POSITIVES = "mean by positives"

LOG_ODDS = ("probe", "finetune", "text_probe", "joint_probe")
"""Tasks whose scores are log odds; zero-shot scores are cosines and say nothing of probabilities."""

_CALIBRATION: Mapping[str, LabelMetric] = {ECE: equal_mass_error, BRIER: brier}

_MEAN_BY_POSITIVES = ("text_probe", "joint_probe")
"""Tasks of JoImTeRNet's protocol, which also weights each class by its positives, No Finding left out."""

#: How the directions of retrieval are called in tables, by the field of :class:`retrieval.RetrievalRanks`.
DIRECTIONS = {
    "image_to_text": "film → report",
    "text_to_image": "report → film",
    "image_to_text_any": "film → report, identical reports count as hits",
    "text_to_image_any": "report → film, films of identical reports count as hits",
    "image_to_unique_text": "film → distinct report texts",
    "unique_text_to_image": "distinct report text → film",
}


@dataclass(frozen=True)
class Evaluated:
    """What a line of a table stands for: a model under a variant (scorer, score), and its kind."""

    model: str
    variant: str = ""
    kind: Kind = "model"


def classification_rows(
    task: str,
    predictions: Mapping[Evaluated, Sequence[FoldScores]],
    differences: Sequence[tuple[Evaluated, Evaluated]],
    protocol: Protocol,
) -> list[Row]:
    """AUROC (mean of folds, and pooled for the headline models) and average precision, for each label and the means.

    Where scores are log odds, also how well the probabilities that they stand for are calibrated, over all folds.
    Every prediction must cover the same studies in the same order, which makes the differences paired.
    """
    if not predictions:
        return []
    counts = positives_and_known(next(iter(predictions.values())))
    writer = _ClassificationWriter(task, protocol, counts)
    sampled = {who: sample_classification(auroc, folds, protocol) for who, folds in predictions.items()}
    rows = [*writer.chance(), *writer.compared("AUROC", sampled, differences)]
    headline = {who: folds for who, folds in predictions.items() if who.kind != "variant"}
    for metric, measure in _CALIBRATION.items() if task in LOG_ODDS else ():
        sampled = {who: _of_probabilities(measure, folds, protocol) for who, folds in headline.items()}
        rows += writer.compared(metric, sampled, [pair for pair in differences if pair[0] in headline])
    for who, folds in headline.items():
        rows += writer.rows("AP", who.model, who.variant, who.kind, _precision(folds, protocol))
    for who, folds in headline.items():
        if len(folds) > 1:
            pooled = sample_classification(auroc, folds, protocol, "pooled")
            rows += writer.rows("AUROC, pooled", who.model, who.variant, who.kind, pooled)
    return rows


def in_pools(field: str, size: int) -> str:
    """Key of a direction's ranks inside pools of so many pairs."""
    return f"{field}@{size}"


def retrieval_rows(
    predictions: Mapping[Evaluated, Mapping[str, Sequence[FoldRanks]]],
    differences: Sequence[tuple[Evaluated, Evaluated]],
    protocol: Protocol,
) -> list[Row]:
    """R@K and median rank for each direction; predictions map a field of ``RetrievalRanks``, or one in pools, to folds.

    Inside pools only the own pair is a hit.
    """
    titles = DIRECTIONS | {
        in_pools(field, size): f"{DIRECTIONS[field]}, in pools of {size:,}"
        for size in protocol.pools
        for field in ("image_to_text", "text_to_image")
    }
    there = next(iter(predictions.values()))
    rows: list[Row] = []
    for field in (name for name in titles if name in there):
        folds = {who: by_field[field] for who, by_field in predictions.items()}
        anyone = folds[next(iter(folds))]
        chance = {f"R@{k}": chance_recall(anyone, k) for k in protocol.recall_at}
        chance["median rank"] = chance_median_rank([fold.counts for fold in anyone])
        queries = sum(len(fold.patient_ids) for fold in anyone)
        base = {"task": "retrieval", "target": titles[field], "n": queries}
        sampled = {who: _retrieval_samples(own, protocol) for who, own in folds.items()}
        rows += metric_rows(base, chance, sampled, differences, protocol.level)
    return rows


def metric_rows(
    base: Mapping[str, object],
    chance: Mapping[str, float],
    sampled: Mapping[Evaluated, Mapping[str, Sampled]],
    differences: Sequence[tuple[Evaluated, Evaluated]],
    level: float,
) -> list[Row]:
    """Rows of one target by metric: chance, then what was evaluated, then paired differences.

    Args:
        base: task, target and number of queries of every row.
        chance: exact, by metric.
        sampled: one column each, by metric.
        differences: first minus second; their draws must be paired.
        level: of the intervals.
    """
    rows = [
        Row.model_validate({**base, "model": "chance", "metric": metric, "value": value, "kind": "chance"})
        for metric, value in chance.items()
    ]
    named = [(who.model, who.variant, str(who.kind), samples) for who, samples in sampled.items()]
    named += [
        (f"{a.model} − {b.model}", a.variant, "difference", _minus(sampled[a], sampled[b])) for a, b in differences
    ]
    for model, variant, kind, samples in named:
        fields = {**base, "model": model, "variant": variant, "kind": kind}
        rows += [row_of(s.interval(0, level), metric=m, **fields) for m, s in samples.items()]
    return rows


def _retrieval_samples(folds: Sequence[FoldRanks], protocol: Protocol) -> dict[str, Sampled]:
    samples = {f"R@{k}": sample_recall(folds, k, protocol) for k in protocol.recall_at}
    samples["median rank"] = sample_median_rank(folds, protocol)
    return samples


def _minus(first: Mapping[str, Sampled], second: Mapping[str, Sampled]) -> dict[str, Sampled]:
    return {metric: sample.minus(second[metric]) for metric, sample in first.items()}


def _of_probabilities(measure: LabelMetric, folds: Sequence[FoldScores], protocol: Protocol) -> Sampled:
    probable = [replace(fold, scores=expit(fold.scores)) for fold in folds]
    return sample_classification(measure, probable, protocol, "joined")


def _precision(folds: Sequence[FoldScores], protocol: Protocol) -> Sampled:
    return sample_classification(average_precision, folds, protocol)


@dataclass(frozen=True)
class _ClassificationWriter:
    """Turns samples over labels into rows, the means included."""

    task: str
    protocol: Protocol
    counts: Sequence[tuple[int, int]]

    def chance(self) -> list[Row]:
        targets = [*self.protocol.labels, *self._means(), *([BY_POSITIVES] if self.task in _MEAN_BY_POSITIVES else [])]
        base: dict[str, object] = {"task": self.task, "model": "chance", "metric": "AUROC", "kind": "chance"}
        return [Row.model_validate({**base, "target": target, "value": 0.5}) for target in targets]

    def compared(
        self, metric: str, sampled: Mapping[Evaluated, Sampled], differences: Sequence[tuple[Evaluated, Evaluated]]
    ) -> list[Row]:
        rows = []
        for who, sample in sampled.items():
            rows += self.rows(metric, who.model, who.variant, who.kind, sample)
        for first, second in differences:
            title = f"{first.model} − {second.model}"
            rows += self.rows(metric, title, first.variant, "difference", sampled[first].minus(sampled[second]))
        return rows

    def rows(self, metric: str, model: str, variant: str, kind: str, sample: Sampled) -> list[Row]:
        fields = {"task": self.task, "model": model, "variant": variant, "metric": metric, "kind": kind}
        level = self.protocol.level
        rows = []
        for k, label in enumerate(self.protocol.labels):
            positives, known = self.counts[k]
            interval = sample.interval(k, level)
            rows.append(row_of(interval, target=label, n=known, positives=positives, **fields))
        for target, columns in self._means().items():
            # Labels that are undefined are named once, for the first line of a table.
            names = [self.protocol.labels[k] for k in columns] if kind == "model" else ()
            mean = sample.mean_of(columns, names)
            interval = percentile_interval(float(mean.estimate[0]), mean.draws[:, 0], level)
            rows.append(row_of(interval, target=target, **fields))
        if self.task in _MEAN_BY_POSITIVES:
            interval = sample.mean_by(self._positives()).interval(0, level)
            rows.append(row_of(interval, target=BY_POSITIVES, **fields))
        return rows

    def _positives(self) -> FloatArray:
        named = zip(self.protocol.labels, self.counts, strict=True)
        return np.array([0.0 if label == NO_FINDING else float(positives) for label, (positives, _) in named])

    def _means(self) -> dict[str, list[int]]:
        labels, common = self.protocol.labels, self.protocol.common_labels
        means = {f"{MACRO} {len(labels)}": list(range(len(labels)))}
        if common:
            means[f"{COMMON} {len(common)}"] = [labels.index(label) for label in common]
        return means
