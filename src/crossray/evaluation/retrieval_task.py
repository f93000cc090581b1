"""Retrieval on one fold: from a model's scores to the ranks of a cell, among all tested pairs and inside pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.cells import Arrays
from crossray.evaluation.class_retrieval import consecutive_pools
from crossray.evaluation.cohort import Cohort, Part
from crossray.evaluation.floors import PairSplit, RidgeConfig, ridge_retrieval
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.models import RunModel
from crossray.evaluation.retrieval import IntArray, RankCounts, RetrievalRanks, fuse, rank_counts, retrieval_ranks
from crossray.evaluation.rows import DIRECTIONS, in_pools
from crossray.evaluation.summary import FoldRanks
from crossray.evaluation.tasks import patients_of, who_is

Gallery = Callable[[IntArray], tuple[FloatArray, FloatArray]]
"""Rows ``[m]`` of a part → scores ``[m, m]`` of their films with their reports, for film → report and the other way.

Both are oriented film by report. A score that is standardised over its candidates knows no others than these rows.
"""

#: How many nearest reports of each film a retrieval cell keeps (for the report's pictures).
NEAREST = 5


def galleries_of(model: RunModel, part: Part) -> dict[str, Gallery]:
    """The scores of a part's films and reports that the method has, by name.

    ``fused`` is as :func:`fuse` says; a method without local scores has nothing else.
    """
    global_scores, local_scores = model.similarity(part, part.texts, purpose="retrieval")
    galleries: dict[str, Gallery] = {"fused": fused_gallery(global_scores, local_scores)}
    if local_scores is not None:
        galleries |= {"global": fused_gallery(global_scores), "local": fused_gallery(local_scores)}
    return galleries


def fused_gallery(scores: FloatArray, local_scores: FloatArray | None = None) -> Gallery:
    """Scores ``[N, N]`` and local ones, fused among whatever rows are asked for."""

    def among(rows: IntArray) -> tuple[FloatArray, FloatArray]:
        square = np.ix_(rows, rows)
        return fuse(scores[square], None if local_scores is None else local_scores[square])

    return among


def ridge_gallery(
    features: Sequence[NDArray[np.float32]], cohort: Cohort, config: RidgeConfig
) -> tuple[Gallery, Arrays]:
    """The retrieval floor and how it was chosen; ``features`` of train, validation and test from the floor's trunk."""
    parts = (cohort.train, cohort.validation, cohort.test)
    train, validation, test = (
        PairSplit(own, [text.text for text in part.texts], part.text_groups)
        for own, part in zip(features, parts, strict=True)
    )
    result = ridge_retrieval(train, validation, test, config)
    chosen = {"chosen_alpha": np.array(result.chosen_alpha), "validation": np.array(result.validation_recall)}
    return fused_gallery(result.test_scores), chosen


def ranked(gallery: Gallery, part: Part, pools: Sequence[int] = ()) -> Arrays:
    """A retrieval cell: ranks of every film among all reports and of every report among all films, for each direction.

    Args:
        gallery: the scores.
        part: the tested pairs.
        pools: sizes; ranks inside consecutive pools of each are kept too, by the own pair only.
    """
    image_to_text, text_to_image = gallery(np.arange(len(part), dtype=np.int64))
    ranks = retrieval_ranks(image_to_text, part.text_groups, text_to_image)
    arrays: Arrays = {**who_is(part), "unique_rows": ranks.unique_rows, "nearest": _nearest(image_to_text, ranks)}
    for field in DIRECTIONS:
        arrays |= _counted(field, [getattr(ranks, field)])
    for size in pools:
        own, rows = np.arange(size, dtype=np.int64), consecutive_pools(len(part), size)
        scores = [gallery(pool) for pool in rows]
        ways = {"image_to_text": [texts for texts, _ in scores], "text_to_image": [films.T for _, films in scores]}
        for way, matrices in ways.items():
            field = in_pools(way, size)
            arrays |= _counted(field, [rank_counts(matrix, own, own) for matrix in matrices])
            arrays[f"{field}:rows"] = np.concatenate(rows)
    return arrays


def fold_ranks(fold: str, cell: Arrays) -> dict[str, FoldRanks]:
    """A retrieval cell as ranks, by direction: a field of ``RetrievalRanks``, or one of them :func:`in_pools`."""
    patients = patients_of(cell)
    found = {}
    for field in (key.removesuffix(":counts") for key in cell if key.endswith(":counts")):
        better, tied, own_tied, own = cell[f"{field}:counts"]
        rows = cell["unique_rows"] if field == "unique_text_to_image" else cell.get(f"{field}:rows")
        queries = patients if rows is None else tuple(patients[row] for row in rows.tolist())
        counts = RankCounts(better, tied, own_tied, own, int(cell[f"{field}:gallery"]))
        found[field] = FoldRanks(fold, queries, counts)
    return found


def _counted(field: str, galleries: Sequence[RankCounts]) -> Arrays:
    """Counts of queries in galleries of one size, one after another."""
    counts = [np.stack([own.better, own.tied, own.own_tied, own.own]) for own in galleries]
    return {f"{field}:counts": np.concatenate(counts, axis=1), f"{field}:gallery": np.array(galleries[0].gallery)}


def _nearest(image_to_text: FloatArray, ranks: RetrievalRanks) -> NDArray[np.int64]:
    """``[N, k]``: for each film the rows of its nearest distinct reports, best first."""
    order = np.argsort(-image_to_text[:, ranks.unique_rows], axis=1, kind="stable")[:, :NEAREST]
    nearest: NDArray[np.int64] = ranks.unique_rows[order]
    return nearest
