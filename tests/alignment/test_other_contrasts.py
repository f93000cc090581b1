"""Contrasts that are not InfoNCE between films and reports: SigLIP's and SimCLR's."""

from __future__ import annotations

import math

import pytest
import torch

from crossray.alignment.contrastive import same_text_positives
from crossray.alignment.nt_xent import nt_xent
from crossray.alignment.pairwise_sigmoid import pairwise_sigmoid_loss

from .oracles import nt_xent_by_loop, pairwise_sigmoid_by_loop


def test_pairwise_sigmoid_agrees_with_the_loop_in_value_and_gradient() -> None:
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    positives = same_text_positives(torch.tensor([0, 1, 0, 2, 3]))
    fast = pairwise_sigmoid_loss(scores, positives, scale=2.0, bias=-1.0)
    slow = pairwise_sigmoid_by_loop(scores, positives, 2.0, -1.0)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), scores)[0] for loss in (fast, slow)))


def test_pairwise_sigmoid_of_some_films_is_a_part_of_the_whole() -> None:
    scores = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    positives = torch.eye(6, dtype=torch.bool)
    whole = pairwise_sigmoid_loss(scores, positives, scale=10.0, bias=-10.0)
    torch.testing.assert_close(pairwise_sigmoid_loss(scores[2:4], positives[2:4], scale=10.0, bias=-10.0), whole[2:4])


def test_nt_xent_agrees_with_the_loop_in_value_and_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(5, 4, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    fast, slow = nt_xent(first, second, temperature=0.5), nt_xent_by_loop(first, second, 0.5)
    torch.testing.assert_close(fast, slow)
    for got, want in zip(*(torch.autograd.grad(loss, [first, second]) for loss in (fast, slow)), strict=True):
        torch.testing.assert_close(got, want)


def test_nt_xent_of_equal_views_and_of_orthonormal_films() -> None:
    same = torch.ones(4, 3)
    assert nt_xent(same, same, temperature=0.1).item() == pytest.approx(math.log(7), abs=1e-5)
    basis = torch.eye(4, dtype=torch.float64)
    wanted = math.log1p(6 * math.exp(-10))
    assert nt_xent(basis, basis, temperature=0.1).item() == pytest.approx(wanted, rel=1e-6)


def test_both_are_full_precision_under_autocast() -> None:
    vectors = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views = nt_xent(vectors, vectors, temperature=0.1)
        pairs = pairwise_sigmoid_loss(vectors @ vectors.T, torch.eye(4, dtype=torch.bool), scale=10.0, bias=-10.0)
    assert (views.dtype, pairs.dtype) == (torch.float32, torch.float32)
