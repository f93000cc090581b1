from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from crossray.alignment.contrastive import cosine_matrix, identity_positives, symmetric_info_nce
from crossray.alignment.grid_positives import grid_positives
from crossray.alignment.local_contrast import ItemLosses, local_contrast, weighted_pair_loss

from .lovt_oracles import local_loss_by_loop


def on_circle(angles: Tensor) -> Tensor:
    return torch.stack([angles.cos(), angles.sin()], dim=-1).unsqueeze(0)


def near(rows: int, columns: int) -> Tensor:
    return grid_positives(rows, columns, threshold=0.5, decay=1.0, like=torch.zeros(1, dtype=torch.float64))


def contrast(anchors: Tensor, contexts: Tensor, positives: Tensor) -> ItemLosses:
    mask = torch.ones(anchors.shape[:2], dtype=torch.bool)
    return local_contrast(anchors, contexts, positives, mask, temperature=0.3)


def eye(count: int) -> Tensor:
    return torch.eye(count, dtype=torch.float64)


def test_check_l03_local_image_loss_on_three_by_three() -> None:
    k = torch.arange(9, dtype=torch.float64)
    losses = contrast(on_circle(0.3 * k), on_circle(0.3 * k + 0.1), near(3, 3))
    for direction in (losses.to_context, losses.from_context):
        assert direction.mean().item() == pytest.approx(2.370138, abs=1e-6)
    weights = (k + 1) / (k + 1).sum()
    assert (losses.to_context @ weights).item() == pytest.approx(2.341646, abs=1e-6)
    assert (losses.from_context @ weights).item() == pytest.approx(2.398630, abs=1e-6)
    everywhere = torch.ones(1, 9, dtype=torch.bool)
    both = weighted_pair_loss(losses, 7 * weights.unsqueeze(0), everywhere)
    assert both.item() == pytest.approx((2.341646 + 2.398630) / 2, abs=1e-6)


def test_check_l04_collapsed_features() -> None:
    same = torch.ones(1, 49, 8, dtype=torch.float64)
    losses = contrast(same, same, near(7, 7))
    assert losses.to_context.mean().item() == pytest.approx(math.log(49), abs=1e-6)
    sentences = torch.ones(2, 5, 8, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([[3], [5]])
    report = local_contrast(sentences, sentences, eye(5), mask, temperature=0.3)
    assert weighted_pair_loss(report, mask.double(), mask).mean().item() == pytest.approx(1.354025, abs=1e-6)
    whole = torch.ones(32, 8, dtype=torch.float64)
    both = symmetric_info_nce(cosine_matrix(whole, whole), identity_positives(32), scale=10)
    assert both.image_to_text.item() == pytest.approx(3.465736, abs=1e-6)


def test_check_l05_orthonormal_matches() -> None:
    regions = contrast(eye(49).unsqueeze(0), eye(49).unsqueeze(0), near(7, 7))
    assert regions.to_context.mean().item() == pytest.approx(4.199880, abs=1e-4)
    assert regions.from_context.mean().item() == pytest.approx(4.199880, abs=1e-4)
    for count, wanted in ((3, 0.068918), (5, 0.133390)):
        sentences = contrast(eye(count).unsqueeze(0), eye(count).unsqueeze(0), eye(count))
        assert sentences.to_context.mean().item() == pytest.approx(wanted, abs=1e-6)


def test_check_l06_constant_contexts_and_single_sentences() -> None:
    regions = torch.randn(2, 49, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    constant = regions[:, :1].expand(-1, 49, -1)
    losses = contrast(regions, constant, near(7, 7)).to_context
    torch.testing.assert_close(losses, torch.full_like(losses, math.log(49)))
    one = contrast(regions[:, :1], regions[:, 1:2], eye(1))
    assert torch.equal(one.to_context, torch.zeros(2, 1, dtype=torch.float64))
    assert torch.equal(one.from_context, torch.zeros(2, 1, dtype=torch.float64))


def test_check_l07_report_loss_on_a_circle() -> None:
    m = torch.arange(4, dtype=torch.float64)
    losses = contrast(on_circle(0.5 * m), on_circle(0.5 * m + 0.2), eye(4))
    assert losses.to_context.mean().item() == pytest.approx(0.832783, abs=1e-6)
    assert losses.from_context.mean().item() == pytest.approx(0.832783, abs=1e-6)


@pytest.mark.parametrize("kind", ["regions", "sentences"])
def test_value_and_gradient_agree_with_the_sums_of_the_spec(kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    lengths = [6, 6, 6] if kind == "regions" else [6, 1, 4]
    positives = near(2, 3) if kind == "regions" else eye(6)
    anchors = torch.randn(3, 6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    contexts = torch.randn(3, 6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(3, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(6) < torch.tensor(lengths).unsqueeze(1)
    losses = local_contrast(anchors, contexts, positives, mask, temperature=0.3)
    value = weighted_pair_loss(losses, weights, mask).mean()
    wanted = local_loss_by_loop(anchors, contexts, positives, weights, lengths, 0.3)
    torch.testing.assert_close(value, wanted)
    for got, want in zip(
        torch.autograd.grad(value, [anchors, contexts]), torch.autograd.grad(wanted, [anchors, contexts]), strict=True
    ):
        torch.testing.assert_close(got, want)


def test_weights_get_no_gradient() -> None:
    weights = torch.rand(2, 4, requires_grad=True)
    items = torch.rand(2, 4, 3, requires_grad=True)
    mask = torch.ones(2, 4, dtype=torch.bool)
    losses = local_contrast(items, items.flip(1), torch.eye(4), mask, temperature=0.3)
    gradients = torch.autograd.grad(
        weighted_pair_loss(losses, weights, mask).sum(), [items, weights], allow_unused=True
    )
    assert gradients[0].abs().sum() > 0
    assert gradients[1] is None


def test_what_stands_in_padding_changes_nothing() -> None:
    items = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(5) < torch.tensor([[3], [5]])
    noisy = torch.where(mask.unsqueeze(2), items, 1e4)
    results = [
        weighted_pair_loss(local_contrast(x, x.flip(2), torch.eye(5), mask, temperature=0.3), mask.float(), mask)
        for x in (items, noisy)
    ]
    torch.testing.assert_close(results[0], results[1])


def test_a_pair_without_items_loses_nothing() -> None:
    items = torch.rand(2, 3, 4, requires_grad=True)
    mask = torch.tensor([[False] * 3, [True] * 3])
    loss = weighted_pair_loss(local_contrast(items, items, torch.eye(3), mask, temperature=0.3), mask.float(), mask)
    assert loss[0] == 0
    (gradient,) = torch.autograd.grad(loss.sum(), items)
    assert gradient.isfinite().all()
