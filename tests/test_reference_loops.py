"""The loops that speed is measured against say the same as the code that is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.reference.bootstrap import bootstrap_auroc
from benchmarks.reference.decoded_batch import decoded_films
from benchmarks.reference.retrieval import argsort_ranks, recalls
from benchmarks.reference.word_region_loss import loop_loss
from benchmarks.speed.loss import inputs, our_loss
from PIL import Image

from crossray.data.resample import resample
from crossray.evaluation.metrics import auroc, per_label
from crossray.evaluation.retrieval import vector_rank_counts

from .alignment.oracles import local_similarity_by_loop


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("pairs", "regions", "width"), [(5, 9, 16), (4, 20, 6), (1, 3, 8)])
def test_the_word_region_loop_equals_ours_in_value_and_gradient(
    pairs: int, regions: int, width: int, padded: bool
) -> None:
    results = []
    for loss in (our_loss, lambda *given: loop_loss(*given, padded=padded)):
        made = inputs(pairs, regions, width=width, longest=13)
        v, e = (tensor.detach().double().requires_grad_() for tensor in made[:2])
        value = loss(v, e, made[2])
        results.append((value, *torch.autograd.grad(value, (v, e))))
    for ours, loop in zip(*results, strict=True):
        torch.testing.assert_close(ours, loop, atol=1e-10, rtol=1e-9)


def test_the_word_region_loop_is_the_spec_written_out() -> None:
    regions, words, mask = inputs(4, 6, width=5, longest=9)
    scores = local_similarity_by_loop(regions, words, mask, gamma1=4, gamma2=5, aggregation="sum")
    own = torch.arange(4)
    wanted = sum(torch.nn.functional.cross_entropy(10 * side, own) for side in (scores, scores.T))
    torch.testing.assert_close(loop_loss(regions, words, mask), wanted)


def test_lengths_of_reports_are_as_the_table_says() -> None:
    lengths = inputs(128, 2, width=2)[2].sum(dim=1)
    assert int(lengths.min()) >= 8
    assert int(lengths.max()) == 60
    assert float(lengths.double().mean()) == pytest.approx(34, abs=3)


def test_ranks_by_sorting_the_whole_matrix_equal_ours() -> None:
    draws = np.random.default_rng(0)
    films = draws.standard_normal((60, 7))
    reports = films + draws.standard_normal((60, 7))
    own = np.arange(60)
    for ranks, sides in zip(argsort_ranks(films, reports), ((films, reports), (reports, films)), strict=True):
        counts = vector_rank_counts(*sides, own, own)
        np.testing.assert_array_equal(counts.ranks(), ranks)
        assert recalls(ranks) == [pytest.approx(counts.hits(k).mean(), abs=1e-12) for k in (1, 5, 10)]


def test_the_bootstrap_by_scikit_learn_equals_ours() -> None:
    draws = np.random.default_rng(0)
    labels = (draws.random((80, 3)) < 0.4).astype(np.float64)
    scores = np.round(draws.normal(size=(80, 3)) + labels, 1)
    drawn = draws.integers(0, 80, size=(9, 80))
    weights = np.stack([np.bincount(rows, minlength=80) for rows in drawn]).astype(np.float64)
    ours = per_label(auroc, scores, labels, weights)
    np.testing.assert_allclose(ours, bootstrap_auroc(scores, labels, drawn), rtol=0, atol=1e-12)


def test_decoded_films_are_those_that_a_store_would_hold(tmp_path: Path) -> None:
    film = np.random.default_rng(0).integers(0, 256, size=(60, 60), dtype=np.uint8)
    Image.fromarray(film).save(tmp_path / "film.png")
    (decoded,) = decoded_films([tmp_path / "film.png"], 20)
    assert np.abs(decoded.astype(int) - resample(film, 20, 20)).max() <= 1
