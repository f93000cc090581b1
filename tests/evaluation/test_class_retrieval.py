"""P@K and Hit@K by class: against sorting, against every order of ties, chance, pools."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from crossray.errors import DataError
from crossray.evaluation import class_retrieval as module
from crossray.evaluation.class_retrieval import PLACES, class_retrieval, consecutive_pools
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.retrieval import IntArray, Ties

FIVE_TIMES_200: IntArray = np.repeat(np.arange(5, dtype=np.int64), 200)


def _by_sorting(scores: FloatArray, own: IntArray, k: int) -> tuple[float, float]:
    right = own[np.argsort(-scores, kind="stable")[:k]]
    return float(right.mean()), float(right.any())


def test_without_ties_it_equals_sorting() -> None:
    generator = np.random.default_rng(0)
    scores, queries, gallery = generator.normal(size=(20, 30)), generator.integers(0, 3, 20), np.arange(30) % 3
    found = class_retrieval(scores, queries, gallery, (1, 2, 5, 30))
    for column, k in enumerate(found.places):
        for q in range(20):
            expected = _by_sorting(scores[q], (gallery == queries[q]).astype(np.int64), k)
            assert (found.precision[q, column], found.hit[q, column]) == pytest.approx(expected, abs=1e-12)


def test_with_ties_it_is_the_mean_best_or_worst_over_every_order_of_the_candidates() -> None:
    generator = np.random.default_rng(1)
    scores, queries = generator.integers(0, 3, (8, 6)).astype(np.float64), np.arange(8) % 3
    gallery = np.array([0, 0, 1, 1, 2, 2], dtype=np.int64)
    orders = [np.array(order) for order in permutations(range(6))]
    rules: dict[Ties, Callable[..., float]] = {
        "expected": np.mean,
        "pessimistic": np.min,
        "optimistic": np.max,
    }
    for ties, of_all in rules.items():
        found = class_retrieval(scores, queries, gallery, (1, 2, 4), ties)
        for q in range(8):
            own = (gallery == queries[q]).astype(np.int64)
            for column, k in enumerate(found.places):
                every = [_by_sorting(scores[q, order], own[order], k) for order in orders]
                expected = of_all([p for p, _ in every]), of_all([h for _, h in every])
                assert (found.precision[q, column], found.hit[q, column]) == pytest.approx(expected, abs=1e-12)


def test_check_7_a_random_ranking_of_five_times_200_has_a_precision_of_one_fifth() -> None:
    scores = np.random.default_rng(0).normal(size=(1000, 1000))
    found = class_retrieval(scores, FIVE_TIMES_200, FIVE_TIMES_200)
    assert found.places == PLACES
    np.testing.assert_allclose(found.precision.mean(axis=0), 0.2, atol=0.04)
    np.testing.assert_allclose(found.hit.mean(axis=0), found.chance_hit.mean(axis=0), atol=0.05)


def test_check_7_a_constant_score_gets_exactly_the_chance_line() -> None:
    found = class_retrieval(np.zeros((1000, 1000)), FIVE_TIMES_200, FIVE_TIMES_200)
    np.testing.assert_allclose(found.chance_precision, 0.2, atol=1e-12)
    np.testing.assert_allclose(found.precision, found.chance_precision, atol=1e-12)
    np.testing.assert_allclose(found.hit, found.chance_hit, atol=1e-12)
    assert found.chance_hit[0, 0] == pytest.approx(0.2)
    assert found.chance_hit[0, 1] == pytest.approx(1 - 800 * 799 / (1000 * 999))


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.round(np.random.default_rng(2).normal(size=(23, 30)), 1)
    classes = np.arange(30, dtype=np.int64) % 4
    whole = class_retrieval(scores, classes[:23], classes, (1, 5))
    monkeypatch.setattr(module, "_TILE_ELEMENTS", 30 * 5)
    np.testing.assert_array_equal(class_retrieval(scores, classes[:23], classes, (1, 5)).precision, whole.precision)


def test_pools_are_consecutive_disjoint_and_leave_the_rest_out() -> None:
    pools = consecutive_pools(3666, 1000)
    np.testing.assert_array_equal(np.concatenate(pools), np.arange(3000))
    assert len(consecutive_pools(3666, 100)) == 36
    np.testing.assert_array_equal(consecutive_pools(7, 7)[0], np.arange(7))


def test_shuffled_pools_depend_on_their_generator_alone() -> None:
    first, again, other = (consecutive_pools(50, 20, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(np.concatenate(first))) == 40


def test_a_place_that_the_gallery_lacks_and_a_pool_that_is_too_large_are_refused() -> None:
    classes = np.arange(5, dtype=np.int64)
    with pytest.raises(DataError, match="first 100 of 5"):
        class_retrieval(np.zeros((5, 5)), classes, classes)
    with pytest.raises(DataError, match="no pool of 1000"):
        consecutive_pools(999)
