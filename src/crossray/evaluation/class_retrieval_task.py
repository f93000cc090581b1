"""Retrieval by class on the folds of an evaluation: which studies stand in it, cells, and rows of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossray.data.class_list import NO_CLASS, class_list, classes_of
from crossray.data.split_files import read_split
from crossray.data.splits import SplitList
from crossray.data.store import Store
from crossray.data.study import View
from crossray.errors import DataError
from crossray.evaluation.cells import Arrays
from crossray.evaluation.class_retrieval import ClassRetrievalConfig, class_retrieval
from crossray.evaluation.cohort import Cohort, Part
from crossray.evaluation.metrics import FloatArray, weighted_mean
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.results import Row
from crossray.evaluation.retrieval import IntArray, Ties
from crossray.evaluation.retrieval_task import Gallery
from crossray.evaluation.rows import Evaluated, metric_rows
from crossray.evaluation.summary import Sampled, patient_weights
from crossray.evaluation.tasks import patients_of, who_is

#: How the directions are called in tables.
CLASS_DIRECTIONS = {
    "image_to_text": "film → reports of its class",
    "text_to_image": "report → films of its class",
}


@dataclass(frozen=True)
class ListedStudies:
    """Test studies of one class alone.

    Attributes:
        rows: ``[m]`` their rows in the fold's test side.
        part: those studies.
        classes: ``[m]`` the class of each, by its place among the protocol's.
        in_words: what list it is, for the record of results.
    """

    rows: IntArray
    part: Part
    classes: IntArray
    in_words: str


def listed_studies(
    store: Store, split: SplitList, cohort: Cohort, config: ClassRetrievalConfig, views: Sequence[View]
) -> ListedStudies:
    """The studies of a fold that stand in the list of the configuration, or in one that is drawn here.

    Raises:
        ConfigError: the store has no label of a class.
        DataError: there are too few studies of a class, or a study of a given list is not tested or of no class alone.
    """
    if config.file is None:
        drawn = class_list(store, split, config, folds=[cohort.fold], views=views)
    else:
        drawn = read_split(config.file)
    fold = drawn.folds[0] if len(drawn.folds) == 1 else drawn.fold(cohort.fold)
    place, where = {study_id: row for row, study_id in enumerate(cohort.test.study_ids)}, config.file or drawn.protocol
    for study_id in fold.test:
        if study_id not in place:
            raise DataError(
                f"is not among the tested studies of fold '{cohort.fold}' of {split.protocol} with a film and a text.",
                file=where,
                row=study_id,
                remedy="Draw a list from this split: crossray data class-list.",
            )
    rows = np.array(sorted(place[study_id] for study_id in fold.test), dtype=np.int64)
    part = cohort.test.rows(rows)
    classes = classes_of(store, part.studies, config)
    if (classes == NO_CLASS).any():
        raise DataError(
            f"does not show one of {', '.join(config.classes)} and none of the other {config.exclusive}.",
            file=where,
            row=part.study_ids[int(np.argmax(classes == NO_CLASS))],
            remedy="Name the classes of the list, or ask for exclusive: classes.",
        )
    return ListedStudies(rows, part, classes, f"{drawn.protocol}, {drawn.notes}, hash {drawn.hash[:16]}")


def class_retrieval_task(gallery: Gallery, listed: ListedStudies, config: ClassRetrievalConfig, ties: Ties) -> Arrays:
    """A cell: P@K and Hit@K of every query, ``[m, K]``, and both by chance, for each direction.

    Args:
        gallery: scores of the listed studies.
        listed: the studies.
        config: the K.
        ties: rule for equal scores.
    """
    fewest = int(np.bincount(listed.classes, minlength=len(config.classes)).min())
    places = [k for k in config.places if k <= fewest]
    if not places:
        raise DataError(f"a class of {fewest} studies has none of the places {config.places}.", field="places")
    texts, films = gallery(np.arange(len(listed.rows), dtype=np.int64))
    arrays: Arrays = {**who_is(listed.part), "classes": listed.classes, "places": np.array(places)}
    for way, scores in (("image_to_text", texts), ("text_to_image", films.T)):
        found = class_retrieval(scores, listed.classes, listed.classes, places, ties)
        for metric, values, chance in (
            ("P", found.precision, found.chance_precision),
            ("Hit", found.hit, found.chance_hit),
        ):
            arrays |= {f"{way}:{metric}": values, f"{way}:{metric}:chance": chance}
    return arrays


def class_retrieval_rows(
    predictions: Mapping[Evaluated, Sequence[tuple[str, Arrays]]],
    differences: Sequence[tuple[Evaluated, Evaluated]],
    protocol: Protocol,
) -> list[Row]:
    """P@K and Hit@K for each direction, over all queries and over those of each class.

    Every prediction must be of the same studies in the same order, which makes the differences paired.
    """
    anyone = next(iter(predictions.values()))
    folds = [(fold, patients_of(cell)) for fold, cell in anyone]
    weights = np.concatenate([patient_weights(fold, patients, protocol) for fold, patients in folds], axis=1)
    classes = np.concatenate([cell["classes"] for _, cell in anyone])
    names = protocol.class_retrieval.classes
    queries = {"": np.full(len(classes), True), **{f": {name}": classes == k for k, name in enumerate(names)}}
    rows: list[Row] = []
    for suffix, asked in queries.items():
        for way, title in CLASS_DIRECTIONS.items():
            base = {"task": "class_retrieval", "target": title + suffix, "n": int(asked.sum())}
            chance = {
                metric: float(values[asked].mean()) for metric, values in _by_metric(anyone, way, ":chance").items()
            }
            sampled = {
                who: {
                    metric: _mean(values[asked], weights[:, asked]) for metric, values in _by_metric(cells, way).items()
                }
                for who, cells in predictions.items()
            }
            rows += metric_rows(base, chance, sampled, differences, protocol.level)
    return rows


def _by_metric(cells: Sequence[tuple[str, Arrays]], way: str, what: str = "") -> dict[str, FloatArray]:
    """``[Q]`` values of the queries of all folds by metric and K; a K that one fold lacks is left out."""
    places = sorted(set.intersection(*(set(cell["places"].tolist()) for _, cell in cells)))
    return {
        f"{metric}@{k}": np.concatenate(
            [cell[f"{way}:{metric}{what}"][:, cell["places"].tolist().index(k)] for _, cell in cells]
        )
        for metric in ("P", "Hit")
        for k in places
    }


def _mean(values: FloatArray, weights: FloatArray) -> Sampled:
    return Sampled(np.array([values.mean()]), weighted_mean(values, weights)[:, None])
