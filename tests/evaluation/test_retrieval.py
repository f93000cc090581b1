"""Ranks against sorting by hand, tie rules, identical reports, exact chance."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from crossray.evaluation import retrieval
from crossray.evaluation.retrieval import (
    IntArray,
    chance_median_rank,
    rank_counts,
    retrieval_ranks,
    vector_rank_counts,
    zscore_over,
)
from crossray.methods.base import ImageEmbedding, TextEmbedding
from crossray.methods.clip import ClipConfig
from tests.small_model import small_method


def _identity(n: int) -> IntArray:
    return np.arange(n, dtype=np.int64)


def test_ranks_without_ties_equal_those_of_sorting() -> None:
    scores = np.random.default_rng(0).normal(size=(30, 30))
    counts = rank_counts(scores, _identity(30), _identity(30))
    expected = [int(np.flatnonzero(np.argsort(-scores[i]) == i)[0]) + 1 for i in range(30)]
    for rule in ("expected", "pessimistic", "optimistic"):
        np.testing.assert_array_equal(counts.ranks(rule), expected)
    np.testing.assert_allclose(counts.hits(5), [rank <= 5 for rank in expected], atol=1e-12)


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.round(np.random.default_rng(1).normal(size=(23, 23)), 1)
    groups = np.random.default_rng(2).integers(0, 12, 23)
    whole = rank_counts(scores, groups, groups)
    monkeypatch.setattr(retrieval, "TILE_ELEMENTS", 23 * 5)
    tiled = rank_counts(scores, groups, groups)
    for name in ("better", "tied", "own_tied", "own"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(tiled, name))


def test_ranks_of_vectors_are_those_of_their_score_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    films, texts = (generator.integers(-2, 3, size=(40, 4)).astype(np.float64) for _ in range(2))  # many ties
    groups = generator.integers(0, 25, 40)
    whole = rank_counts(films @ texts.T, groups, groups)
    monkeypatch.setattr(retrieval, "TILE_ELEMENTS", 40 * 7)
    by_tile = vector_rank_counts(films, texts, groups, groups)
    assert whole.tied.any()
    assert (whole.own > 1).any()
    for name in ("better", "tied", "own_tied", "own", "gallery"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(by_tile, name))


def test_ranks_of_a_models_vectors_are_those_of_the_scores_that_the_suite_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fifth of the reports are copies; the suite scores each distinct one once, by the method itself."""
    generator = np.random.default_rng(6)
    groups = np.concatenate([np.arange(160), generator.integers(0, 160, 40)]).astype(np.int64)
    films, distinct = (torch.from_numpy(generator.standard_normal((n, 64), dtype=np.float32)) for n in (200, 160))
    nothing = films.new_zeros(160, 0, 64)
    method = small_method(ClipConfig())
    images = ImageEmbedding(films, films.unsqueeze(1), (1, 1))
    texts = TextEmbedding(distinct, nothing, nothing[..., 0].bool(), nothing[..., 0].bool())
    scores = method.similarity(images, texts, purpose="retrieval").global_scores.double().numpy()[:, groups]
    monkeypatch.setattr(retrieval, "TILE_ELEMENTS", 200 * 33)
    vectors = [F.normalize(own, dim=1).numpy() for own in (films, distinct)]
    reports = vectors[1][groups]
    for queries, gallery, matrix in ((vectors[0], reports, scores), (reports, vectors[0], scores.T)):
        for own in (groups, _identity(200)):
            by_scores, by_vectors = rank_counts(matrix, own, own), vector_rank_counts(queries, gallery, own, own)
            for name in ("better", "tied", "own_tied", "own", "gallery"):
                np.testing.assert_array_equal(getattr(by_vectors, name), getattr(by_scores, name))
    assert rank_counts(scores, groups, groups).own_tied.max() > 1


def test_counts_equal_those_by_hand_with_ties_and_shared_texts() -> None:
    generator = np.random.default_rng(4)
    scores, groups = generator.integers(0, 4, size=(30, 30)).astype(np.float64), generator.integers(0, 12, 30)
    counts = rank_counts(scores, groups, groups)
    for i, row in enumerate(scores):
        own = groups == groups[i]
        best = row[own].max()
        by_hand = ((row > best).sum(), ((row == best) & ~own).sum(), ((row == best) & own).sum(), own.sum())
        assert (counts.better[i], counts.tied[i], counts.own_tied[i], counts.own[i]) == by_hand


def test_a_constant_score_gets_exactly_the_chance_level() -> None:
    groups = np.array([0, 0, 0, 1, 2, 2, 3], dtype=np.int64)
    ranks = retrieval_ranks(np.zeros((7, 7)), groups)
    for counts in (ranks.image_to_text, ranks.text_to_image_any, ranks.image_to_unique_text):
        for k in (1, 2, 5, 10):
            np.testing.assert_allclose(counts.hits(k), counts.chance(k), atol=1e-12)


def test_chance_is_k_of_m_for_single_pairs_and_hypergeometric_for_shared_texts() -> None:
    groups = np.array([0, 0, 0, 1, 2, 3], dtype=np.int64)
    ranks = retrieval_ranks(np.random.default_rng(0).normal(size=(6, 6)), groups)
    np.testing.assert_allclose(ranks.image_to_text.chance(2), 2 / 6)
    assert ranks.image_to_text_any.chance(2)[0] == pytest.approx(1 - comb(3, 2) / comb(6, 2), abs=1e-15)
    assert ranks.image_to_text.chance(10).tolist() == [1.0] * 6


def test_the_median_rank_of_chance() -> None:
    single = rank_counts(np.random.default_rng(0).normal(size=(9, 9)), _identity(9), _identity(9))
    assert chance_median_rank([single]) == 5
    assert chance_median_rank([single, single]) == 5


def test_tie_rules_bracket_the_expectation() -> None:
    scores = np.array([[1.0, 1.0, 0.0, 1.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    counts = rank_counts(scores, _identity(4), _identity(4))
    assert counts.ranks("optimistic")[0] == 1
    assert counts.ranks("pessimistic")[0] == 3
    assert counts.ranks("expected")[0] == 2
    assert counts.hits(1)[0] == pytest.approx(1 / 3)
    assert counts.hits(2)[0] == pytest.approx(2 / 3)
    assert counts.hits(1, "pessimistic")[0] == 0


def test_an_identical_report_is_a_hit_only_when_duplicates_are_known() -> None:
    groups = np.array([5, 5, 7], dtype=np.int64)
    # Film 0 finds report 1 first, which reads the same as its own.
    scores = np.array([[0.5, 0.9, 0.1], [0.2, 0.9, 0.1], [0.0, 0.1, 0.9]])
    ranks = retrieval_ranks(scores, groups)
    assert ranks.image_to_text.hits(1)[0] == 0
    assert ranks.image_to_text_any.hits(1)[0] == 1
    assert ranks.image_to_unique_text.gallery == 2
    assert len(ranks.unique_text_to_image.better) == 2


def test_expected_hits_agree_with_random_tie_breaking() -> None:
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 3, size=(12, 12)).astype(np.float64)
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8], dtype=np.int64)
    broken = [rank_counts(scores + 1e-6 * generator.random(scores.shape), groups, groups).ranks() for _ in range(4000)]
    counts = rank_counts(scores, groups, groups)
    np.testing.assert_allclose(counts.hits(3), (np.array(broken) <= 3).mean(axis=0), atol=0.04)
    np.testing.assert_allclose(counts.ranks(), np.mean(broken, axis=0), atol=0.15)


def test_the_two_directions_are_transposes() -> None:
    scores = np.random.default_rng(4).normal(size=(10, 10))
    forward = retrieval_ranks(scores, _identity(10))
    backward = retrieval_ranks(scores.T, _identity(10))
    np.testing.assert_array_equal(forward.image_to_text.ranks(), backward.text_to_image.ranks())


def test_directions_may_have_scores_of_their_own() -> None:
    scores = np.random.default_rng(5).normal(size=(10, 10))
    ranks = retrieval_ranks(scores, _identity(10), text_to_image=np.eye(10))
    np.testing.assert_array_equal(ranks.text_to_image.ranks(), 1)


def test_zscores_have_mean_zero_and_a_constant_row_stays_defined() -> None:
    scores = np.random.default_rng(6).normal(size=(4, 9))
    scores[2] = 3.0
    standard = zscore_over(scores, axis=1)
    np.testing.assert_allclose(standard.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(standard.std(axis=1), [1, 1, 0, 1])


def test_nan_scores_and_queries_without_candidate_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        rank_counts(np.full((2, 2), np.nan), _identity(2), _identity(2))
    unknown = np.array([[1.0, np.nan], [0.0, 1.0]], dtype=np.float32)
    too_long = np.array([[3e38, -3e38], [3e38, 3e38]], dtype=np.float32)  # its first product is infinity less infinity
    for vectors in (unknown, too_long):
        with pytest.raises(ValueError, match="NaN"), np.errstate(all="ignore"):
            vector_rank_counts(vectors, np.abs(vectors), _identity(2), _identity(2))
    with pytest.raises(ValueError, match="no candidate"):
        rank_counts(np.zeros((2, 2)), np.array([0, 9]), _identity(2))
