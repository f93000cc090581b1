"""Sinkhorn's codes, predictions across them, and weights without their extremes."""

from __future__ import annotations

import pytest
import torch

from crossray.alignment.quantiles import clipped_shares
from crossray.alignment.sinkhorn import sinkhorn_codes, swapped_prediction

from .oracles import clipped_shares_by_loop, sinkhorn_by_loop

SCORES = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.7, 0.2, 0.6], [0.1, 0.9, 0.3]], dtype=torch.float64)


def test_b3_codes_of_four_samples_over_three_prototypes() -> None:
    codes = sinkhorn_codes(SCORES, epsilon=0.05, iterations=3)
    wanted = torch.tensor([[0.9984, 0, 0.0016], [0.9982, 0.0002, 0.0016], [0.0039, 0, 0.9961], [0, 0.9975, 0.0025]])
    torch.testing.assert_close(codes, wanted.double(), atol=5e-5, rtol=0)
    torch.testing.assert_close(codes.sum(1), torch.ones(4, dtype=torch.float64))


def test_b3_uniform_scores_have_uniform_codes() -> None:
    codes = sinkhorn_codes(torch.full((5, 4), 0.3), epsilon=0.05, iterations=3)
    torch.testing.assert_close(codes, torch.full((5, 4), 0.25))


@pytest.mark.parametrize("iterations", [1, 3, 7])
def test_logarithms_give_the_codes_of_the_published_order(iterations: int) -> None:
    scores = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    codes = sinkhorn_codes(scores, epsilon=0.5, iterations=iterations)
    torch.testing.assert_close(codes, sinkhorn_by_loop(scores, 0.5, iterations))


def test_codes_carry_no_gradient_and_survive_what_exponentials_do_not() -> None:
    scores = torch.full((2, 2), 40.0).requires_grad_()
    codes = sinkhorn_codes(scores, epsilon=0.05, iterations=3)
    assert not codes.requires_grad
    torch.testing.assert_close(codes, torch.full((2, 2), 0.5))


def test_each_side_predicts_the_other_sides_codes() -> None:
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(5, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    fast = swapped_prediction(first, second, epsilon=0.3, iterations=3, temperature=0.2)
    slow = torch.zeros((), dtype=torch.float64)
    for one, other in ((first, second), (second, first)):
        codes = sinkhorn_by_loop(one.detach(), 0.3, 3)
        for i in range(5):
            slow = slow - (codes[i] * (other[i] / 0.2).log_softmax(0)).sum() / 5 / 2
    torch.testing.assert_close(fast, slow)
    for got, want in zip(*(torch.autograd.grad(loss, [first, second]) for loss in (fast, slow)), strict=True):
        torch.testing.assert_close(got, want)


def test_clipping_agrees_with_the_loop_over_rows() -> None:
    weights = torch.rand(8, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keep = torch.arange(11).unsqueeze(0) < torch.tensor([11, 7, 3, 2, 1, 0, 10, 5]).unsqueeze(1)
    weights = weights.masked_fill(~keep, 0.0)
    shares = clipped_shares(weights, 0.1, 0.9)
    torch.testing.assert_close(shares, clipped_shares_by_loop(weights, 0.1, 0.9))
    torch.testing.assert_close(shares.sum(1), keep.any(1).double())
    assert torch.equal(shares > 0, keep)


def test_appended_padding_leaves_shares() -> None:
    weights = torch.rand(3, 6, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(weights, (0, 4))
    torch.testing.assert_close(clipped_shares(padded, 0.1, 0.9)[:, :6], clipped_shares(weights, 0.1, 0.9))
