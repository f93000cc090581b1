"""Retrieval both ways: exact ranks in tiles, ties explicit, identical reports known, chance exact.

A query's rank is kept as three counts (:class:`RankCounts`), from which every tie rule follows. Under the
default rule, ``expected``, tied candidates stand in random order and a hit is the *probability* of one: a model
that scores everything alike then gets exactly the chance level, and two films sharing one report get half a
hit each. Duplicate-aware retrieval takes any report of identical normalised text for the query's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.metrics import FloatArray

Ties = Literal["expected", "pessimistic", "optimistic"]
IntArray = NDArray[np.int64]
ScoreArray = NDArray[np.float32] | NDArray[np.float64]

#: Scores compared at once (32 MB as float32). Of few queries at a time the product of matrices is half as fast.
TILE_ELEMENTS = 8_000_000


@dataclass(frozen=True)
class RankCounts:
    """Where the best of a query's own candidates stands.

    Attributes:
        better: ``[Q]`` other candidates with a higher score.
        tied: ``[Q]`` other candidates with exactly its score.
        own_tied: ``[Q]`` own candidates with exactly its score, itself included (1 without duplicates).
        own: ``[Q]`` own candidates in the gallery.
        gallery: number of candidates.
    """

    better: IntArray
    tied: IntArray
    own_tied: IntArray
    own: IntArray
    gallery: int

    def ranks(self, ties: Ties = "expected") -> FloatArray:
        """``[Q]`` rank of the first own candidate, 1 = best; its expectation under ``expected``."""
        first = self.better.astype(np.float64) + 1
        if ties == "optimistic":
            return first
        if ties == "pessimistic":
            return first + self.tied
        return first - 1 + (self.tied + self.own_tied + 1) / (self.own_tied + 1)

    def hits(self, k: int, ties: Ties = "expected") -> FloatArray:
        """``[Q]`` hit among the first ``k``: 0 or 1, or its probability under ``expected``."""
        if ties != "expected":
            return (self.ranks(ties) <= k).astype(np.float64)
        places = np.clip(k - self.better, 0, self.tied + self.own_tied)
        return 1.0 - _probability_of_none(self.tied + self.own_tied, self.own_tied, places)

    def chance(self, k: int) -> FloatArray:
        """``[Q]`` probability of a hit among the first ``k`` when the gallery is in random order."""
        places = np.minimum(np.full_like(self.own, k), self.gallery)
        return 1.0 - _probability_of_none(np.full_like(self.own, self.gallery), self.own, places)


def chance_median_rank(galleries: Sequence[RankCounts]) -> float:
    """Median rank over the queries of all galleries when each is in random order."""
    places = np.arange(1, max(counts.gallery for counts in galleries) + 1)
    reached, queries = np.zeros(len(places)), 0
    for counts in galleries:
        for own, how_many in zip(*np.unique(counts.own, return_counts=True), strict=True):
            none = _probability_of_none(np.array([counts.gallery]), np.array([own]), np.minimum(places, counts.gallery))
            reached += how_many * (1 - none)
        queries += len(counts.own)
    return float(places[np.searchsorted(reached / queries, 0.5 - 1e-12)])


def rank_counts(scores: FloatArray, query_groups: IntArray, gallery_groups: IntArray) -> RankCounts:
    """Ranks of Q queries in a gallery of M candidates; own candidates are those of the query's group.

    For retrieval by identity, give every pair a group of its own. Computed in tiles of queries, so that no
    more than a few million comparisons are held at a time.

    Args:
        scores: ``[Q, M]``, higher is nearer.
        query_groups: ``[Q]``.
        gallery_groups: ``[M]``; every query's group must be among them.

    Raises:
        ValueError: a score is NaN, or a query has no candidate of its own.
    """
    scores = np.asarray(scores)
    return _counts_by_tile(scores.__getitem__, _OwnCandidates.of(query_groups, gallery_groups))


def vector_rank_counts(
    queries: ScoreArray, gallery: ScoreArray, query_groups: IntArray, gallery_groups: IntArray
) -> RankCounts:
    """:func:`rank_counts` of the scores ``queries @ gallery.T``, which never stand in memory all at once.

    For galleries whose score matrix would be large: 20,000 pairs take 1.6 GB as float32, and this some 100 MB. Equal
    candidates tie exactly, being scored once: a product of matrices gives equal columns different last digits. The
    suite ranks by :func:`rank_counts`, since its scores are fused, standardised over a gallery, or averaged over
    models, and so are no product of two vectors.

    Args:
        queries: ``[Q, D]``; of length 1, if cosines are meant.
        gallery: ``[M, D]``.
        query_groups: ``[Q]``.
        gallery_groups: ``[M]``; every query's group must be among them.

    Raises:
        ValueError: a score is NaN, or a query has no candidate of its own.
    """
    first, place = _distinct_rows(gallery)
    columns: Any = np.ascontiguousarray(gallery[first]).T

    def scores_of(tile: slice) -> ScoreArray:
        scores: ScoreArray = queries[tile] @ columns
        return scores if len(first) == len(gallery) else scores[:, place]

    own = _OwnCandidates.of(query_groups, gallery_groups)
    return _counts_by_tile(scores_of, own, may_be_nan=not _product_is_finite(queries, gallery))


def _product_is_finite(queries: ScoreArray, gallery: ScoreArray) -> bool:
    """Whether no score can overflow or be NaN: a pass over the vectors instead of one over all scores."""
    squares = [np.einsum("ij,ij->i", rows, rows, dtype=np.float64).max(initial=0) for rows in (queries, gallery)]
    largest = np.sqrt(squares[0]) * np.sqrt(squares[1])
    return bool(largest < np.finfo(np.result_type(queries, gallery)).max / 2)  # NaN is not less


def _distinct_rows(vectors: ScoreArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the distinct vectors in their order, and for each vector which of these it is."""
    numbers: dict[bytes, int] = {}
    place = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in vectors], dtype=np.intp)
    return np.unique(place, return_index=True)[1], place


@dataclass(frozen=True)
class _OwnCandidates:
    """Query i's own candidates are ``members[first[i] : first[i] + count[i]]``."""

    members: NDArray[np.intp]
    first: IntArray
    count: IntArray

    @classmethod
    def of(cls, query_groups: IntArray, gallery_groups: IntArray) -> _OwnCandidates:
        members = np.argsort(gallery_groups, kind="stable")
        ordered = gallery_groups[members]
        first = np.searchsorted(ordered, query_groups, side="left")
        count = np.searchsorted(ordered, query_groups, side="right") - first
        if not count.all():
            raise ValueError("a query has no candidate of its own in the gallery")
        return cls(members, first, count)


def _counts_by_tile(
    scores_of: Callable[[slice], ScoreArray], own: _OwnCandidates, *, may_be_nan: bool = True
) -> RankCounts:
    queries, gallery = len(own.first), len(own.members)
    counts = np.zeros((3, queries), dtype=np.int64)
    step = max(1, TILE_ELEMENTS // max(1, gallery))
    for start in range(0, queries, step):
        tile = slice(start, start + step)
        scores = scores_of(tile)
        if may_be_nan and np.isnan(scores.min(initial=0)):
            raise ValueError("a retrieval score is NaN")
        counts[:, tile] = _tile_counts(scores, own.members, own.first[tile], own.count[tile])
    return RankCounts(counts[0], counts[1], counts[2], own.count, gallery)


def _tile_counts(
    scores: ScoreArray, members: NDArray[np.intp], first: IntArray, count: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    begin = np.cumsum(count) - count
    place = np.arange(count.sum()) + np.repeat(first - begin, count)
    own_scores = scores[np.repeat(np.arange(len(count)), count), members[place]]
    best = np.maximum.reduceat(own_scores, begin)
    own_tied = np.add.reduceat((own_scores == np.repeat(best, count)).astype(np.int64), begin)
    better = np.count_nonzero(scores > best[:, None], axis=1)
    equal = np.count_nonzero(scores == best[:, None], axis=1)
    return better, equal - own_tied, own_tied


@dataclass(frozen=True)
class RetrievalRanks:
    """Ranks of one gallery of pairs, both ways and under each notion of a hit.

    Attributes:
        image_to_text, text_to_image: own pair only.
        image_to_text_any, text_to_image_any: any candidate whose report text is identical.
        image_to_unique_text, unique_text_to_image: the gallery (or the queries) are the distinct texts.
        unique_rows: ``[G]`` the pair that stands for each distinct text.
    """

    image_to_text: RankCounts
    text_to_image: RankCounts
    image_to_text_any: RankCounts
    text_to_image_any: RankCounts
    image_to_unique_text: RankCounts
    unique_text_to_image: RankCounts
    unique_rows: IntArray


def retrieval_ranks(
    image_to_text: FloatArray, text_groups: IntArray, text_to_image: FloatArray | None = None
) -> RetrievalRanks:
    """All ranks of N pairs.

    Args:
        image_to_text: ``[N, N]`` score of film i (row) and report j (column).
        text_groups: ``[N]`` equal where the normalised report text is identical.
        text_to_image: ``[N, N]`` the same orientation (film, report), where ranking films for a report uses
            other scores (for example z-scored over films); ``None`` = the same scores.
    """
    films_for_text = (image_to_text if text_to_image is None else text_to_image).T
    identity = np.arange(len(text_groups), dtype=np.int64)
    groups = np.asarray(text_groups, dtype=np.int64)
    unique_rows = np.unique(groups, return_index=True)[1].astype(np.int64)
    distinct = groups[unique_rows]
    return RetrievalRanks(
        image_to_text=rank_counts(image_to_text, identity, identity),
        text_to_image=rank_counts(films_for_text, identity, identity),
        image_to_text_any=rank_counts(image_to_text, groups, groups),
        text_to_image_any=rank_counts(films_for_text, groups, groups),
        image_to_unique_text=rank_counts(image_to_text[:, unique_rows], groups, distinct),
        unique_text_to_image=rank_counts(films_for_text[unique_rows], distinct, groups),
        unique_rows=unique_rows,
    )


def fuse(global_scores: FloatArray, local_scores: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Global and local scores ``[N, M]`` as one, for film → report and for report → film (both ``[N, M]``).

    The mean of the two, each z-scored over the gallery of the direction (global_local.md §6.3); without local scores
    the global ones, for both directions.
    """
    if local_scores is None:
        return global_scores, global_scores
    texts, films = ((zscore_over(global_scores, axis) + zscore_over(local_scores, axis)) / 2 for axis in (1, 0))
    return texts, films


def zscore_over(scores: FloatArray, axis: int) -> FloatArray:
    """Scores standardised along the gallery (global_local.md §6.3); a constant row becomes zeros."""
    centred = scores - scores.mean(axis=axis, keepdims=True)
    spread = centred.std(axis=axis, keepdims=True)
    result: FloatArray = np.zeros_like(centred)
    np.divide(centred, spread, out=result, where=spread > 0)
    return result


def _probability_of_none(total: IntArray, own: IntArray, places: IntArray) -> FloatArray:
    """Probability that ``places`` draws without replacement from ``total`` meet none of ``own``: C(t-m, p)/C(t, p).

    As a product over the own candidates, ``(t-p-i)/(t-i)``: exact to rounding, and zero where p > t-m.
    """
    result = np.ones(np.broadcast(total, own, places).shape)
    for i in range(int(own.max(initial=0))):
        factor = np.maximum(total - places - i, 0) / np.maximum(total - i, 1)
        result = np.where(i < own, result * factor, result)
    return result
