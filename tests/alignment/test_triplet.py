from __future__ import annotations

import pytest
import torch

from crossray.alignment.contrastive import cosine_matrix, identity_positives
from crossray.alignment.local_similarity import Aggregation, local_similarity
from crossray.alignment.paired_similarity import paired_local_similarity
from crossray.alignment.triplet import Negatives, drawn_negatives, triplet_matching

from .oracles import triplet_by_loop

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def every(*index: int) -> Negatives:
    return Negatives(torch.tensor(index), torch.ones(len(index), dtype=torch.bool))


def test_check_03_two_oblique_pairs() -> None:
    images, texts = torch.tensor([E1, [0.6, 0.8]]), torch.tensor([[0.8, 0.6], E2])
    both = triplet_matching(cosine_matrix(images, texts), every(1, 0), margin=0.5)
    assert (both.image_to_text.item(), both.text_to_image.item()) == pytest.approx((0.33, 0.33), abs=1e-6)


def test_check_06_local_triplet_with_the_own_and_the_legacy_length() -> None:
    regions = torch.tensor([[E1, E2], [E1, E1]], dtype=torch.float64)
    words = torch.tensor([[E1, E2], [E1, [0.0, 0.0]]], dtype=torch.float64)
    mask = torch.tensor([[True, True], [True, False]])
    scores = local_similarity(regions, words, mask, gamma1=4, gamma2=5)
    own = triplet_matching(scores, every(1, 0), margin=0.5)
    assert (own.image_to_text.item(), own.text_to_image.item()) == pytest.approx((0.253358, 0.0), abs=1e-6)
    for padding, wanted in (([0.0, 0.0], 0.25), (E2, 0.5)):
        words[1, 1] = torch.tensor(padding)
        legacy_scores = paired_local_similarity(regions, words[[1, 0]], mask, gamma1=4, gamma2=5)
        legacy = triplet_matching(scores, every(1, 0), margin=0.5, negative_report_scores=legacy_scores)
        assert (legacy.image_to_text.item(), legacy.text_to_image.item()) == pytest.approx((wanted, 0.0), abs=1e-4)


def test_value_and_gradient_agree_with_the_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(6, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    chosen: list[int | None] = [3, 0, None, 5, 1, 2]
    negatives = Negatives(torch.tensor([n or 0 for n in chosen]), torch.tensor([n is not None for n in chosen]))
    fast = triplet_matching(scores, negatives, margin=0.5)
    slow = triplet_by_loop(scores, chosen, 0.5)
    for got, wanted in zip((fast.image_to_text, fast.text_to_image), slow, strict=True):
        torch.testing.assert_close(got, wanted)
        torch.testing.assert_close(*(torch.autograd.grad(x, scores, retain_graph=True)[0] for x in (got, wanted)))


def test_every_allowed_pair_is_drawn_equally_often_and_never_another() -> None:
    generator = torch.Generator().manual_seed(0)
    allowed = torch.tensor([[False, True, True, True], [True, False, False, True], [False] * 4, [True] * 3 + [False]])
    counts = torch.zeros(4, 4)
    rounds = 6000
    for _ in range(rounds):
        draws = torch.randint(2**31, (4,), generator=generator)
        negatives = drawn_negatives(draws, allowed)
        counts[torch.arange(4), negatives.index] += negatives.exists
        assert negatives.exists.tolist() == [True, True, False, True]
    expected = allowed / allowed.sum(1, keepdim=True).clamp_min(1)
    torch.testing.assert_close(counts / rounds, expected, atol=0.03, rtol=0)


def test_a_lone_pair_has_no_negative_and_no_loss() -> None:
    scores = torch.zeros(1, 1, requires_grad=True)
    both = triplet_matching(scores, drawn_negatives(torch.tensor([7]), ~identity_positives(1)), margin=0.5)
    (gradient,) = torch.autograd.grad(both.image_to_text + both.text_to_image, scores)
    assert both.image_to_text.item() == both.text_to_image.item() == gradient.item() == 0


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_the_paired_similarity_is_the_diagonal_of_all_pairs_in_value_and_gradient(aggregation: Aggregation) -> None:
    generator = torch.Generator().manual_seed(0)
    regions = torch.randn(4, 9, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    words = torch.randn(4, 7, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(7) < torch.tensor([[7], [3], [0], [1]])
    fast = paired_local_similarity(regions, words, mask, gamma1=4, gamma2=5, average=aggregation == "mean")
    slow = local_similarity(regions, words, mask, gamma1=4, gamma2=5, aggregation=aggregation).diagonal()
    torch.testing.assert_close(fast, slow)
    weights = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)
    for got, wanted in zip(
        torch.autograd.grad((weights * fast).sum(), (regions, words)),
        torch.autograd.grad((weights * slow).sum(), (regions, words)),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)
