from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from crossray.alignment.attended_cosine import attended_cosine, pack_words
from crossray.alignment.local_similarity import (
    Aggregation,
    local_similarity,
    region_scores,
    word_region_attention,
)
from crossray.alignment.segments import segment_softmax_

from .oracles import attention_by_loop, local_similarity_by_loop

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def pairs(
    films: int = 5, reports: int = 7, regions: int = 9, words: int = 11, width: int = 6, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, words + 1, (reports,), generator=generator)
    mask = torch.arange(words) < lengths.unsqueeze(1)
    return (
        torch.randn(films, regions, width, generator=generator, dtype=torch.float64),
        torch.randn(reports, words, width, generator=generator, dtype=torch.float64),
        mask,
    )


def assert_agrees_with_the_loop(
    regions: Tensor, words: Tensor, mask: Tensor, aggregation: Aggregation = "sum", chunk_elements: int = 1 << 20
) -> None:
    results = []
    weights = torch.randn(len(regions), len(words), generator=torch.Generator().manual_seed(1), dtype=regions.dtype)
    for fast in (True, False):
        v, e = regions.clone().requires_grad_(), words.clone().requires_grad_()
        if fast:
            score = local_similarity(
                v, e, mask, gamma1=4, gamma2=5, aggregation=aggregation, chunk_elements=chunk_elements
            )
        else:
            score = local_similarity_by_loop(v, e, mask, gamma1=4, gamma2=5, aggregation=aggregation)
        gradients = torch.autograd.grad((score * weights).sum(), (v, e), allow_unused=True, materialize_grads=True)
        results.append((score, *gradients))
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("aggregation", ["sum", "mean", "max"])
@pytest.mark.parametrize("chunk_elements", [1, 700, 1 << 20])
def test_value_and_gradient_agree_with_the_loop_for_any_chunking(aggregation: Aggregation, chunk_elements: int) -> None:
    assert_agrees_with_the_loop(*pairs(), aggregation, chunk_elements)


@pytest.mark.parametrize(("regions", "width"), [(3, 16), (30, 2)])
def test_gram_and_direct_norms_agree_with_the_loop(regions: int, width: int) -> None:
    assert_agrees_with_the_loop(*pairs(regions=regions, width=width))


def test_single_precision_agrees_with_the_loop() -> None:
    regions, words, mask = pairs()
    assert_agrees_with_the_loop(regions.float(), words.float(), mask)


def test_a_batch_of_one_agrees_with_the_loop() -> None:
    assert_agrees_with_the_loop(*pairs(films=1, reports=1))


@pytest.mark.parametrize("empty", [[0], [3], [6], [0, 1, 6], list(range(7))])
def test_an_empty_report_scores_zero_and_disturbs_nothing(empty: list[int]) -> None:
    regions, words, mask = pairs()
    mask[empty] = False
    for chunk_elements in (1, 500, 1 << 20):
        assert_agrees_with_the_loop(regions, words, mask, chunk_elements=chunk_elements)
    assert local_similarity(regions, words, mask, gamma1=4, gamma2=5)[:, empty].eq(0).all()


def test_zero_vectors_have_cosine_zero_and_finite_gradients() -> None:
    regions, words, mask = pairs()
    regions[0] = 0.0
    words[1] = 0.0
    assert_agrees_with_the_loop(regions, words, mask)


def test_huge_products_do_not_overflow() -> None:
    regions, words, mask = pairs()
    assert_agrees_with_the_loop(regions * 1e3, words * 1e3, mask)


@pytest.mark.parametrize("aggregation", ["sum", "mean", "max"])
def test_appended_padding_leaves_values_and_gradients_unchanged(aggregation: Aggregation) -> None:
    regions, words, mask = pairs()
    junk = torch.full((len(words), 4, words.shape[2]), 1e6, dtype=words.dtype)
    padded = torch.cat([words, junk], 1).requires_grad_()
    longer = torch.cat([mask, torch.zeros(len(words), 4, dtype=torch.bool)], 1)
    plain = words.clone().requires_grad_()
    short = local_similarity(regions, plain, mask, gamma1=4, gamma2=5, aggregation=aggregation)
    long = local_similarity(regions, padded, longer, gamma1=4, gamma2=5, aggregation=aggregation)
    torch.testing.assert_close(long, short)
    (wanted,) = torch.autograd.grad(short.sum(), plain)
    (got,) = torch.autograd.grad(long.sum(), padded)
    torch.testing.assert_close(got[:, : words.shape[1]], wanted)
    assert got[:, words.shape[1] :].eq(0).all()


def test_a_score_does_not_depend_on_the_other_films_and_reports() -> None:
    regions, words, mask = pairs()
    whole = local_similarity(regions, words, mask, gamma1=4, gamma2=5)
    for i, j in itertools.product(range(len(regions)), range(len(words))):
        alone = local_similarity(regions[i : i + 1], words[j : j + 1], mask[j : j + 1], gamma1=4, gamma2=5)
        torch.testing.assert_close(alone[0, 0], whole[i, j])


def test_a_regions_score_is_that_of_a_film_which_holds_nothing_else() -> None:
    regions, words, mask = pairs()
    pair = min(len(regions), len(words))
    regions, words, mask = regions[:pair], words[:pair], mask[:pair].clone()
    mask[0] = False  # a text without words scores 0 everywhere
    alone = local_similarity(regions.flatten(0, 1).unsqueeze(1), words, mask, gamma1=4, gamma2=5)
    expected = torch.stack([alone.view(pair, -1, pair)[row, :, row] for row in range(pair)])
    torch.testing.assert_close(region_scores(regions, words, mask, gamma2=5), expected)
    padded, longer = torch.cat([words, torch.full_like(words, 7.0)], 1), torch.cat([mask, torch.zeros_like(mask)], 1)
    torch.testing.assert_close(region_scores(regions, padded, longer, gamma2=5), expected)


def test_half_precision_under_autocast_is_computed_in_full_precision() -> None:
    regions, words, mask = pairs()
    half = local_similarity(regions.bfloat16(), words.bfloat16(), mask, gamma1=4, gamma2=5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = local_similarity(regions.bfloat16(), words.bfloat16(), mask, gamma1=4, gamma2=5)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, half)


def test_check_03_attention_of_two_regions_and_two_words() -> None:
    vectors = torch.tensor([[E1, E2]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    attention = word_region_attention(vectors, vectors, mask, gamma1=4)
    wanted = torch.tensor([[[0.863947, 0.136053], [0.136053, 0.863947]]])
    torch.testing.assert_close(attention, wanted, atol=1e-6, rtol=0)
    for aggregation, score in (("sum", 5.632279), ("mean", 4.939131)):
        got = local_similarity(vectors, vectors, mask, gamma1=4, gamma2=5, aggregation=aggregation)  # type: ignore[arg-type]  # the pairs' type widens to str
        assert got.item() == pytest.approx(score, abs=1e-5)


def test_check_05_one_region_and_one_word() -> None:
    regions, words, _ = pairs(films=3, reports=4, regions=1, words=1)
    score = local_similarity(regions, words, torch.ones(4, 1, dtype=torch.bool), gamma1=4, gamma2=5)
    cosine = torch.nn.functional.cosine_similarity(regions, words[:, 0].unsqueeze(0), dim=2)
    torch.testing.assert_close(10 * score, 50 * cosine)


def test_check_06_permuting_regions_permutes_the_attention_and_leaves_the_scores() -> None:
    regions, words, mask = pairs(films=7)
    order = torch.randperm(regions.shape[1], generator=torch.Generator().manual_seed(3))
    plain = local_similarity(regions, words, mask, gamma1=4, gamma2=5)
    torch.testing.assert_close(local_similarity(regions[:, order], words, mask, gamma1=4, gamma2=5), plain)
    attention = word_region_attention(regions, words, mask, gamma1=4)
    permuted = word_region_attention(regions[:, order], words, mask, gamma1=4)
    torch.testing.assert_close(permuted, attention[:, :, order])


def test_attention_maps_agree_with_the_loop_and_padding_is_zero() -> None:
    regions, words, mask = pairs(films=7)
    attention = word_region_attention(regions, words, mask, gamma1=4)
    for film, report, real, got in zip(regions, words, mask, attention, strict=True):
        torch.testing.assert_close(got[real], attention_by_loop(film, report[real], 4))
        assert got[~real].eq(0).all()


@pytest.mark.parametrize(("words", "logit"), [(1, 50.0), (5, 66.0944), (20, 79.9573)])
def test_check_b2_identical_regions_and_words(words: int, logit: float) -> None:
    vector = torch.tensor([0.6, 0.8])
    score = local_similarity(
        vector.expand(1, 4, 2), vector.expand(1, words, 2), torch.ones(1, words, dtype=torch.bool), gamma1=4, gamma2=5
    )
    assert 10 * score.item() == pytest.approx(logit, abs=1e-3)
    attention = word_region_attention(
        vector.expand(1, 4, 2), vector.expand(1, words, 2), torch.ones(1, words, dtype=torch.bool), gamma1=4
    )
    torch.testing.assert_close(attention, torch.full((1, words, 4), 0.25))


@pytest.mark.parametrize(("fit", "kept_tensors"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 4), (9, 4)])
def test_what_is_kept_between_forward_and_backward_is_bounded(fit: int, kept_tensors: int) -> None:
    regions, words, mask = pairs(films=6, reports=8, regions=30, words=20)
    packed = pack_words(words.requires_grad_(), mask)
    scores = len(packed.report) * regions.shape[0] * regions.shape[1]
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept_elements = scores * fit + scores // 2
        attended_cosine(regions.requires_grad_(), packed, gamma1=4, kept_elements=kept_elements)
    inputs = regions.numel() + packed.vectors.numel() + packed.report.numel()
    assert sum(kept) == inputs + scores * kept_tensors
    assert inputs < scores


@pytest.mark.parametrize("chunk_elements", [1, 700, 1 << 20])
@pytest.mark.parametrize(("size", "width"), [(3, 16), (30, 2)])  # by Gram matrices, and directly
def test_what_is_kept_and_what_is_made_again_give_the_same_gradients(
    chunk_elements: int, size: int, width: int
) -> None:
    regions, words, mask = pairs(regions=size, width=width)
    scores = int(mask.sum()) * regions.shape[0] * regions.shape[1]
    gradients = []
    for kept_elements in (0, scores, 2 * scores, 4 * scores):
        v, packed = regions.clone().requires_grad_(), pack_words(words.clone().requires_grad_(), mask)
        cosine = attended_cosine(v, packed, gamma1=4, chunk_elements=chunk_elements, kept_elements=kept_elements)
        gradients.append(torch.autograd.grad(cosine.square().sum(), (v, packed.vectors), retain_graph=True))
        again = torch.autograd.grad(cosine.square().sum(), (v, packed.vectors))
        torch.testing.assert_close(again, gradients[-1], rtol=0, atol=0)  # what is kept is left as it was
    for others in gradients[1:]:
        torch.testing.assert_close(others, gradients[0])


def test_scores_are_not_kept_where_nothing_is_learned() -> None:
    regions, words, mask = pairs()
    with torch.no_grad():
        assert not attended_cosine(regions.requires_grad_(), pack_words(words, mask), gamma1=4).requires_grad


def test_chunks_hold_whole_reports_and_no_more_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    regions, words, mask = pairs(films=2, reports=9, regions=5, words=11)
    sizes: list[int] = []

    def noting(rows: Tensor, segment: Tensor, count: int) -> Tensor:
        sizes.append(rows.numel())
        return segment_softmax_(rows, segment, count)

    monkeypatch.setattr("crossray.alignment.attended_cosine.segment_softmax_", noting)
    local_similarity(regions, words, mask, gamma1=4, gamma2=5, chunk_elements=150)
    assert sum(sizes) == int(mask.sum()) * 10
    assert max(sizes) <= 150
    assert len(sizes) > 2
