"""What can be solved without looking at anatomy? ``python benchmarks/shortcuts.py STORE SPLIT``.

A matching of films and reports is only worth something if neither can be told by accident: by a film's brightness or
shape, by a report's length, by the order of the patients. This fits simple predictors on such figures, in the
training side of a split, and says what they reach on its test side:

- retrieval of the report for a film: ridge regression from the figures to the report's TF-IDF vector, and to its
  number of words (nearest length first), R@10 against chance;
- the findings: logistic regression on the figures, AUROC;
- grounding: maps made from the phrase alone, which never look at the film, where places are known.

The last line of the first two tables is no shortcut but a yardstick: 8 x 8 grey values, a look at the film from afar.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import crossray
from crossray.data.resample import resample
from crossray.data.split_files import read_split
from crossray.data.store import Store
from crossray.data.text import TextConfig
from crossray.errors import CrossRayError
from crossray.evaluation.cohort import Cohort, Part, build_cohort
from crossray.evaluation.floors import PairSplit, RidgeConfig, ridge_retrieval
from crossray.evaluation.grounding import CNR, POINTING
from crossray.evaluation.grounding_floors import GroundingFloors
from crossray.evaluation.grounding_rows import ALL_PHRASES, fold_phrases, grounding_rows
from crossray.evaluation.grounding_task import Judge, grounding_floor_task
from crossray.evaluation.metrics import FloatArray, auroc
from crossray.evaluation.phrases import known_phrases
from crossray.evaluation.probe import FeatureSplit, ProbeConfig, linear_probe
from crossray.evaluation.protocol import Protocol, protocol_for
from crossray.evaluation.results import Row, row_of
from crossray.evaluation.retrieval import RankCounts, retrieval_ranks
from crossray.evaluation.rows import DIRECTIONS, Evaluated
from crossray.evaluation.summary import FoldRanks, FoldScores, chance_recall, sample_classification, sample_recall
from crossray.evaluation.tables import number

Features = NDArray[np.float32]

RECALL_AT = 10
YARDSTICK = "8 x 8 grey values (no shortcut)"


def main() -> None:
    parser = argparse.ArgumentParser(description="Score what figures that see no anatomy can solve.")
    parser.add_argument("store", type=Path, help="a prepared store")
    parser.add_argument("split", help="a split list: a file, or a shipped name")
    parser.add_argument("--fold", help="name of the fold; the first by default")
    parser.add_argument("--output", type=Path, help="where the figures go (JSON)")
    arguments = parser.parse_args()
    try:
        store, split = Store.open(arguments.store), read_split(arguments.split)
        fold = split.fold(arguments.fold or split.folds[0].name)
        protocol = protocol_for(split.protocol, store.label_names, store.labels)
        cohort = build_cohort(store, fold, protocol.labels, protocol.views, TextConfig())
    except CrossRayError as error:
        sys.exit(str(error))
    check = ShortcutCheck(store, cohort, protocol)
    tables = {"retrieval": check.retrieval(), "findings": check.findings(), "grounding": check.grounding()}
    title = f"{store.manifest.inputs.source}, protocol {protocol.id}, split {split.hash[:12]}, fold {fold.name}"
    sizes = f"{len(cohort.train)} / {len(cohort.validation)} / {len(cohort.test)}"
    print(f"{title}: {sizes} studies for training / validation / test")
    for rows in tables.values():
        print("\n" + "\n".join(markdown(rows)))
    if arguments.output is not None:
        document = {
            "command": "python benchmarks/shortcuts.py STORE SPLIT",
            "date": datetime.now(UTC).date().isoformat(),
            "crossray": crossray.__version__,
            "what": title,
            "store_hash": store.hash,
            "split_hash": split.hash,
            "studies": sizes,
            "tables": {name: [row.model_dump(mode="json") for row in rows] for name, rows in tables.items()},
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class ShortcutCheck:
    """A fold, looked at through figures that see no anatomy."""

    store: Store
    cohort: Cohort
    protocol: Protocol

    def retrieval(self) -> list[Row]:
        """R@10 both ways of each set of figures, by the report's words and by its length."""
        scores = {}
        for name, figures in FIGURES.items():
            train, validation, test = (
                PairSplit(figures(self.store, part), [text.text for text in part.texts], part.text_groups)
                for part in self._parts
            )
            scores[f"{name} → words"] = ridge_retrieval(train, validation, test, RidgeConfig()).test_scores
            scores[f"{name} → report length"] = length_scores(train, validation, test)
        ranks = {name: retrieval_ranks(own, self.cohort.test.text_groups) for name, own in scores.items()}
        rows = []
        for way in ("image_to_text", "text_to_image"):
            fold = {name: [self._ranks(getattr(own, way))] for name, own in ranks.items()}
            fields = {"task": "retrieval", "metric": f"R@{RECALL_AT}", "target": f"{DIRECTIONS[way]}, %"}
            rows.append(Row(**fields, model="chance", value=chance_recall(next(iter(fold.values())), RECALL_AT)))
            for name, own in fold.items():
                sample = sample_recall(own, RECALL_AT, self.protocol)
                rows.append(row_of(sample.interval(0, self.protocol.level), **fields, model=name))
        return rows

    def findings(self) -> list[Row]:
        """AUROC of each finding by each set of figures."""
        labels = [part.labels for part in self._parts]
        rows = []
        for name, figures in FIGURES.items():
            train, validation, test = (figures(self.store, part) for part in self._parts)
            scores = linear_probe(
                FeatureSplit(train, labels[0]), FeatureSplit(validation, labels[1]), test, ProbeConfig()
            ).test_scores
            fold = FoldScores(self.cohort.fold, self.cohort.test.patient_ids, scores, labels[2])
            sample = sample_classification(auroc, [fold], self.protocol)
            mean = sample.mean_of(range(len(self.protocol.labels)))
            targets = [("mean", mean.interval(0, self.protocol.level))]
            targets += [(k, sample.interval(i, self.protocol.level)) for i, k in enumerate(self.protocol.labels)]
            fields = {"task": "probe", "metric": "AUROC", "model": name}
            rows += [row_of(interval, **fields, target=target) for target, interval in targets]
        return rows

    def grounding(self) -> list[Row]:
        """Pointing game and CNR of maps that never look at the film."""
        config = self.protocol.grounding
        known = known_phrases(self.store, self.cohort.test, config)
        if not len(known):
            return []
        train = known_phrases(self.store, self.cohort.train, config)
        judge = Judge(self.cohort.test, known, config, self.protocol.ties)
        cells = grounding_floor_task(GroundingFloors(train, config), judge)
        phrases = {Evaluated(name): [fold_phrases(self.cohort.fold, cell)] for name, cell in cells.items()}
        rows = grounding_rows(phrases, [], self.protocol)
        wanted = [row for row in rows if row.target == ALL_PHRASES and row.metric in (POINTING, CNR)]
        return [row.model_copy(update={"target": f"{row.metric} ({row.n} phrases)"}) for row in wanted]

    def _ranks(self, counts: RankCounts) -> FoldRanks:
        return FoldRanks(self.cohort.fold, self.cohort.test.patient_ids, counts)

    @property
    def _parts(self) -> tuple[Part, Part, Part]:
        return self.cohort.train, self.cohort.validation, self.cohort.test


def length_scores(train: PairSplit, validation: PairSplit, test: PairSplit) -> FloatArray:
    """Film by report: how near the report's number of words is to the one that the film's figures predict."""
    from sklearn.linear_model import RidgeCV

    mean, scale = train.features.mean(axis=0), np.maximum(train.features.std(axis=0), 1e-6)
    fitted = [(part.features.astype(np.float64) - mean) / scale for part in (train, validation, test)]
    lengths = [np.array([len(text.split()) for text in part.texts]) for part in (train, validation, test)]
    ridge = RidgeCV(alphas=(1.0, 1e1, 1e2, 1e3, 1e4))
    ridge.fit(np.concatenate(fitted[:2]), np.concatenate(lengths[:2]))
    distance: FloatArray = -np.abs(ridge.predict(fitted[2])[:, None] - lengths[2][None, :])
    return distance


def shape(store: Store, part: Part) -> Features:
    """Height, width and aspect of the film."""
    sides = [(g.original_height, g.original_width) for g in (store.film(row).geometry for row in part.films.tolist())]
    return np.array([(height, width, height / width) for height, width in sides], dtype=np.float32)


def brightness(store: Store, part: Part) -> Features:
    """Mean, standard deviation and quartiles of the film's grey values."""
    films = [(film.mean(), film.std(), *np.percentile(film, (5, 25, 50, 75, 95))) for film in contents(store, part)]
    return np.array(films, dtype=np.float32)


def histogram(store: Store, part: Part) -> Features:
    """The film's grey values in 32 bins."""
    films = [np.histogram(film, bins=32, range=(0, 256), density=True)[0] for film in contents(store, part)]
    return np.array(films, dtype=np.float32)


def corners(store: Store, part: Part) -> Features:
    """Mean and standard deviation of the film's four corners, a tenth of the sides each: markers and borders."""
    films = []
    for film in contents(store, part):
        high, wide = (max(1, side // 10) for side in film.shape)
        corner = [film[:high, :wide], film[:high, -wide:], film[-high:, :wide], film[-high:, -wide:]]
        films.append([value for piece in corner for value in (piece.mean(), piece.std())])
    return np.array(films, dtype=np.float32)


def noise(store: Store, part: Part) -> Features:
    """How rough the film is: mean absolute difference of neighbouring pixels, along each axis."""
    films = [
        [np.abs(np.diff(film.astype(np.float32), axis=axis)).mean() for axis in (0, 1)]
        for film in contents(store, part)
    ]
    return np.array(films, dtype=np.float32)


def order(store: Store, part: Part) -> Features:
    """The study's place in the store and on coarser and finer cycles of it: the order of patients and visits."""
    place = part.studies.astype(np.float64)
    cycles = [wave(2 * np.pi * place / length) for length in (4, 8, 16, 64, 256) for wave in (np.sin, np.cos)]
    return np.stack([place, *cycles], axis=1).astype(np.float32)


def everything(store: Store, part: Part) -> Features:
    """All of the above side by side."""
    return np.concatenate([figures(store, part) for figures in SHORTCUTS.values()], axis=1)


def thumbnail(store: Store, part: Part) -> Features:
    """The film at 8 x 8 pixels."""
    films = [resample(film, 8, 8).ravel() for film in contents(store, part)]
    return np.array(films, dtype=np.float32)


def contents(store: Store, part: Part) -> list[NDArray[np.uint8]]:
    """The prepared films without their padding."""
    boxes = [store.film(row).geometry.content_box() for row in part.films.tolist()]
    films = store.pixels(part.films)
    return [film[y0:y1, x0:x1] for film, (x0, y0, x1, y1) in zip(films, boxes, strict=True)]


SHORTCUTS: Mapping[str, Callable[[Store, Part], Features]] = {
    "shape": shape,
    "brightness": brightness,
    "histogram": histogram,
    "corners": corners,
    "noise": noise,
    "order of studies": order,
}
FIGURES = {**SHORTCUTS, "all of these": everything, YARDSTICK: thumbnail}


def markdown(rows: Sequence[Row]) -> list[str]:
    """Models down, targets across; the interval behind each value."""
    if not rows:
        return ["No phrase of the test side has a known place."]
    targets = list(dict.fromkeys(row.target for row in rows))
    head = rows[0].metric if rows[0].task != "grounding" else "map"
    lines = [f"| {head} | " + " | ".join(targets) + " |", "| --- |" + " ---: |" * len(targets)]
    for model in dict.fromkeys(row.model for row in rows):
        own = {row.target: row for row in rows if row.model == model}
        lines.append(f"| {model} | " + " | ".join(_cell(own[target]) for target in targets) + " |")
    return lines


def _cell(row: Row) -> str:
    value = number(row.value, row.metric)
    if row.low is None or row.high is None:
        return value
    return f"{value} [{number(row.low, row.metric)}, {number(row.high, row.metric)}]"


if __name__ == "__main__":
    main()
