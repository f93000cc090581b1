from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from crossray.alignment.sentence_terms import (
    absolute_errors,
    query_divergence,
    within_report_contrast,
    without_negatives,
)

SCALE = torch.tensor(7.0)


def test_within_report_contrast_agrees_with_a_loop_over_ragged_reports() -> None:
    contexts, sentences = torch.randn(3, 4, 6), torch.randn(3, 4, 6)
    counts = [4, 2, 1]
    mask = torch.arange(4) < torch.tensor(counts).unsqueeze(1)
    got = within_report_contrast(contexts, sentences, mask, SCALE)
    for b, count in enumerate(counts):
        c, t = F.normalize(contexts[b, :count]), F.normalize(sentences[b, :count])
        own = torch.arange(count)
        wanted = (F.cross_entropy(SCALE * c @ t.T, own) + F.cross_entropy(SCALE * t @ c.T, own)) / 2
        assert got[b].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_check_02_one_sentence_costs_nothing_and_equal_ones_the_logarithm_of_their_number() -> None:
    same = torch.ones(4, 5, 6)
    counts = torch.tensor([0, 1, 3, 5])
    mask = torch.arange(5) < counts.unsqueeze(1)
    got = within_report_contrast(same, same, mask, SCALE)
    assert got.tolist() == pytest.approx([0.0, 0.0, math.log(3), math.log(5)], abs=1e-5)


def test_check_03_equal_vectors_give_minus_one_and_orthogonal_ones_zero() -> None:
    regions = F.normalize(torch.randn(2, 5, 4), dim=2)
    assert without_negatives(regions, 3 * regions).tolist() == pytest.approx([-1, -1])
    basis = torch.eye(4).expand(2, 4, 4)
    assert without_negatives(basis, basis.roll(1, dims=1)).abs().max().item() == 0


def test_check_15_what_a_prediction_is_compared_with_is_held_still() -> None:
    predicted, wanted = (torch.randn(2, 5, 4, requires_grad=True) for _ in range(2))
    torch.autograd.backward(without_negatives(predicted, wanted).sum())
    assert predicted.grad is not None
    assert wanted.grad is None


def test_check_08_the_divergence_is_zero_for_equal_queries_and_never_negative() -> None:
    logits = torch.randn(50, 7)
    assert query_divergence(logits, logits).abs().max().item() < 1e-6
    assert query_divergence(logits, logits + 1).abs().max().item() < 1e-5, "a constant changes no softmax"
    assert query_divergence(logits, torch.randn(50, 7)).min().item() > 0


def test_absolute_errors_are_means_over_the_vector() -> None:
    assert absolute_errors(torch.tensor([[1.0, -1.0, 3.0]]), torch.zeros(1, 3)).item() == pytest.approx(5 / 3)
