"""Cross-entropy of two logits, and F1 of the present class at the argmax (downstream_protocols, 8.1)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, f1_score
from torch.nn import functional as F

from crossray.evaluation.classification.binary import argmax_counts
from crossray.evaluation.localized.measures import F1_AT_ARGMAX, Measured, classification_measures
from crossray.evaluation.localized.scorers import ArgmaxF1Scorer
from crossray.evaluation.localized.tasks import TwoClassTask


def test_f1_is_scikit_learns_of_the_argmax_also_where_logits_tie() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(-2, 3, (60, 2), generator=generator) * 1e-20  # differences that a sigmoid rounds to 0.5
    labels = (torch.rand(60, 1, generator=generator) < 0.4).float()
    expected = f1_score(labels[:, 0].numpy(), logits.argmax(dim=1).numpy())
    assert (logits[:, 0] == logits[:, 1]).any()
    differences = TwoClassTask().predict(logits)
    score = ArgmaxF1Scorer()
    for p, q in zip(torch.split(differences, 7), torch.split(labels, 7), strict=True):
        score.add(p, q)
    assert score.value() == pytest.approx(expected)
    ones = np.ones((1, 60))
    found = classification_measures(
        differences.double().numpy(), labels.double().numpy(), ("x",), ones, two_classes=True
    )
    assert found[Measured(F1_AT_ARGMAX, "x")] == pytest.approx(expected)
    assert {what.metric for what in found} == {"AUROC", "AP", "ECE", "Brier", F1_AT_ARGMAX}


def test_calibration_is_of_the_softmax_of_the_two_logits() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(50, 2, generator=generator, dtype=torch.float64)
    labels = (torch.rand(50, 1, generator=generator) < 0.5).double()
    labels[:4] = torch.nan
    given = TwoClassTask().predict(logits).numpy()
    found = classification_measures(given, labels.numpy(), ("x",), np.ones((1, 50)), two_classes=True)
    probabilities, known = logits.softmax(dim=1)[4:, 1].numpy(), labels[4:, 0].numpy()
    bins = np.searchsorted(np.quantile(probabilities, np.arange(1, 10) / 10), probabilities)
    gaps = [abs((probabilities - known)[bins == number].sum()) for number in range(10)]
    assert found[Measured("ECE", "x")] == pytest.approx(sum(gaps) / len(known))
    assert found[Measured("Brier", "x")] == pytest.approx(brier_score_loss(known, probabilities))
    nothing = np.full((50, 1), np.nan)
    unknown = classification_measures(given, nothing, ("x",), np.ones((2, 50)))
    assert np.isnan(unknown[Measured("ECE", "x")]).all()
    assert np.isnan(unknown[Measured("Brier", "x")]).all()


def test_f1_under_draws_is_that_of_the_rows_written_out_and_unknown_labels_are_left_out() -> None:
    rng = np.random.default_rng(0)
    differences, labels = rng.normal(size=(40, 1)), (rng.random((40, 1)) < 0.5).astype(float)
    weights = rng.integers(0, 3, size=(5, 40)).astype(float)
    found = argmax_counts(differences, labels, weights).f1()[:, 0]
    for draw, value in zip(weights.astype(int), found, strict=True):
        rows = np.repeat(np.arange(40), draw)
        assert value == pytest.approx(f1_score(labels[rows, 0], differences[rows, 0] > 0))
    padded = np.concatenate([differences, [[9.0]]]), np.concatenate([labels, [[np.nan]]])
    assert argmax_counts(*padded).f1() == argmax_counts(differences, labels).f1()


def test_calling_nothing_scores_zero_and_nothing_to_call_is_undefined() -> None:
    never = torch.full((3, 1), -1.0)
    score = ArgmaxF1Scorer()
    score.add(never, torch.tensor([[1.0], [0.0], [0.0]]))
    assert score.value() == 0
    empty = ArgmaxF1Scorer()
    empty.add(never, torch.zeros(3, 1))
    assert np.isnan(empty.value())


def test_cross_entropy_is_pytorchs_over_the_known_labels() -> None:
    logits = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    labels = torch.tensor([[1.0], [0.0], [torch.nan], [1.0], [0.0], [torch.nan]])
    known = torch.tensor([0, 1, 3, 4])
    loss = TwoClassTask().loss(logits, labels)
    expected = F.cross_entropy(logits[known], labels[known, 0].long())
    assert loss.item() == pytest.approx(expected.item())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.allclose(gradient, torch.autograd.grad(expected, logits)[0])
    assert TwoClassTask().loss(logits, torch.full((6, 1), torch.nan)).item() == 0
