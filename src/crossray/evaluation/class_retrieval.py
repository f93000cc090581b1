"""Retrieval by class: of the first K candidates, how many share the query's class (P@K), and does any (Hit@K).

Spec: `downstream_protocols.md`, section 4. Ranks are over the whole matrix that is given: published code that ranks
inside batches gives numbers that depend on the batch. Under the default rule for ties, ``expected``, tied candidates
stand in random order, and both scores are expectations: a model that scores everything alike gets exactly chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossray.data.class_list import ClassListConfig
from crossray.errors import DataError
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.retrieval import IntArray, Ties, rank_counts

PLACES = (1, 2, 5, 10, 100)

_TILE_ELEMENTS = 4_000_000


class ClassRetrievalConfig(ClassListConfig):
    """Which studies are asked and ranked, and how far down the ranking is looked.

    Attributes:
        places: the K of P@K and Hit@K; those that are more than the studies of a class are left out, for P@K could
            not reach 1 there.
        file: a list of ``crossray data class-list``, or any split list of studies of one class alone; without one they
            are drawn from the fold's test side.
    """

    places: tuple[int, ...] = Field(default=PLACES, min_length=1)
    file: str | None = None


@dataclass(frozen=True)
class ClassRetrieval:
    """Scores of Q queries for each K of ``places``, all ``[Q, len(places)]``; a mean over queries is the metric.

    Attributes:
        places: the K.
        precision: share of the first K that have the query's class.
        hit: whether any of them has.
        chance_precision, chance_hit: the same for candidates in random order, exactly.
    """

    places: tuple[int, ...]
    precision: FloatArray
    hit: FloatArray
    chance_precision: FloatArray
    chance_hit: FloatArray


def class_retrieval(
    scores: FloatArray,
    query_classes: IntArray,
    gallery_classes: IntArray,
    places: Sequence[int] = PLACES,
    ties: Ties = "expected",
) -> ClassRetrieval:
    """Rank M candidates for each of Q queries by the full matrix ``scores [Q, M]``, higher is nearer.

    A query's own report is among its candidates, and of its class. The z-scoring of GLoRIA's fused score over a
    query's candidates is :func:`crossray.evaluation.retrieval.fuse`.

    Raises:
        DataError: a K that the gallery does not have.
        ValueError: a score is NaN, or a query's class has no candidate.
    """
    most = scores.shape[1]
    if max(places) > most:
        raise DataError(
            f"the first {max(places)} of {most} candidates cannot be looked at.",
            remedy="Use a larger pool or smaller K.",
        )
    counts = rank_counts(scores, query_classes, gallery_classes)
    own = counts.own[:, None] / most
    return ClassRetrieval(
        places=tuple(places),
        precision=_precision(scores, query_classes, gallery_classes, places, ties),
        hit=np.stack([counts.hits(k, ties) for k in places], axis=1),
        chance_precision=np.tile(own, (1, len(places))),
        chance_hit=np.stack([counts.chance(k) for k in places], axis=1),
    )


def consecutive_pools(pairs: int, size: int = 1000, generator: np.random.Generator | None = None) -> list[IntArray]:
    """Disjoint pools of rows ``[size]``: the first ``size``, the next, and so on; what is left over is in none.

    JoImTeRNet's "1k" numbers are means over such pools (`joimternet.md`, section 5.1); a smaller pool is easier, so
    they never stand beside those of the whole. The whole is ``size=pairs``.

    Args:
        pairs: how many rows there are.
        size: of a pool.
        generator: shuffles the rows first; ``None`` = in the order given, which classes in blocks must not have.

    Raises:
        DataError: there are fewer rows than one pool takes.
    """
    if not 0 < size <= pairs:
        raise DataError(f"{pairs} pairs make no pool of {size}.", remedy="Use the whole set, or a smaller pool.")
    rows = np.arange(pairs) if generator is None else generator.permutation(pairs)
    return [rows[start : start + size].astype(np.int64) for start in range(0, pairs - size + 1, size)]


def _precision(
    scores: FloatArray, query_classes: IntArray, gallery_classes: IntArray, places: Sequence[int], ties: Ties
) -> FloatArray:
    result = np.empty((len(scores), len(places)))
    for tile in _tiles(*scores.shape):
        own = query_classes[tile, None] == gallery_classes
        falling = -np.sort(-scores[tile], axis=1)
        for column, k in enumerate(places):
            result[tile, column] = _right_among(scores[tile], own, falling[:, [k - 1]], k, ties) / k
    return result


def _right_among(scores: FloatArray, own: NDArray[np.bool_], last: FloatArray, k: int, ties: Ties) -> FloatArray:
    """How many of the first k are right, where ``last [Q, 1]`` is the k-th highest score."""
    above, tied = scores > last, scores == last
    right_above, right_tied = (above & own).sum(axis=1), (tied & own).sum(axis=1)
    # Places that are left for the candidates tied at the k-th score, and how many of those there are.
    left, equal = k - above.sum(axis=1), tied.sum(axis=1)
    among_tied = {
        "expected": left * right_tied / equal,
        "optimistic": np.minimum(left, right_tied),
        "pessimistic": np.maximum(left - (equal - right_tied), 0),
    }[ties]
    return np.asarray(right_above + among_tied, dtype=np.float64)


def _tiles(queries: int, gallery: int) -> Iterator[slice]:
    """Queries in pieces, so that no more than a few million comparisons are held at a time."""
    step = max(1, _TILE_ELEMENTS // max(1, gallery))
    yield from (slice(start, start + step) for start in range(0, queries, step))
