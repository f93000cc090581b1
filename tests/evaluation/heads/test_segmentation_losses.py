from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from crossray.evaluation.heads.segmentation_losses import (
    SegmentationLoss,
    bce_loss,
    dice_loss,
    dice_loss_per_class,
    focal_dice_loss,
    segmentation_loss,
)

LOSSES = get_args(SegmentationLoss)


def problem(films: int = 3, classes: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(films, classes, 5, 4, generator=generator, dtype=torch.float64)
    return logits, (torch.rand(films, classes, 5, 4, generator=generator) > 0.7).to(torch.uint8)


def slow_dice(logits: Tensor, masks: Tensor) -> float:
    both = total = 0.0
    for x, q in zip(logits.flatten().tolist(), masks.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        both += p * q
        total += p + q
    return 1 - 2 * both / max(total, 1e-7) if masks.any() else 0.0


def test_dice_pools_all_pixels_classes_and_films() -> None:
    logits, masks = problem()
    assert dice_loss(logits, masks).item() == pytest.approx(slow_dice(logits, masks))


def test_dice_per_class_is_the_mean_of_each_class_alone() -> None:
    logits, masks = problem()
    alone = [slow_dice(logits[:, k], masks[:, k]) for k in range(2)]
    assert dice_loss_per_class(logits, masks).item() == pytest.approx(sum(alone) / 2)


def test_a_class_without_positives_adds_nothing_to_dice_per_class() -> None:
    logits, masks = problem()
    masks[:, 1] = 0
    assert dice_loss_per_class(logits, masks).item() == pytest.approx(slow_dice(logits[:, 0], masks[:, 0]) / 2)


def test_dice_of_a_batch_without_positives_is_zero_and_has_no_gradient() -> None:
    logits, masks = problem()
    logits.requires_grad_(True)
    loss = dice_loss(logits, torch.zeros_like(masks))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()


def test_dice_survives_probabilities_that_are_all_zero() -> None:
    logits, masks = problem()
    assert dice_loss(logits - 1e4, masks).item() == pytest.approx(1)


def test_focal_dice_is_ten_times_focal_minus_the_logarithm_of_soft_dice() -> None:
    logits, masks = problem()
    p, q = logits.sigmoid(), masks.double()
    of_truth = torch.where(masks > 0, p, 1 - p)
    focal = ((1 - of_truth) ** 2 * -of_truth.log()).mean()
    dice = (2 * (p * q).sum() + 1) / (p.sum() + q.sum() + 1)
    torch.testing.assert_close(focal_dice_loss(logits, masks), 10 * focal - dice.log())


def test_bce_is_the_mean_over_pixels() -> None:
    logits, masks = problem()
    torch.testing.assert_close(bce_loss(logits, masks), F.binary_cross_entropy(logits.sigmoid(), masks.double()))


@pytest.mark.parametrize("kind", LOSSES)
def test_unknown_pixels_take_no_part(kind: SegmentationLoss) -> None:
    logits, masks = problem()
    loss = segmentation_loss(kind)
    padded = torch.cat([masks, torch.full_like(masks, 127)], dim=2)
    longer = torch.cat([logits, torch.full_like(logits, 9.0)], dim=2).requires_grad_(True)
    value = loss(longer, padded)
    torch.testing.assert_close(value, loss(logits, masks))
    (gradient,) = torch.autograd.grad(value, longer)
    assert not gradient[:, :, 5:].any()


@pytest.mark.parametrize("kind", LOSSES)
def test_masks_may_be_boolean_or_bytes_of_one_or_of_255(kind: SegmentationLoss) -> None:
    logits, masks = problem()
    loss = segmentation_loss(kind)
    torch.testing.assert_close(loss(logits, masks * 255), loss(logits, masks))
    torch.testing.assert_close(loss(logits, masks.bool()), loss(logits, masks))


@pytest.mark.parametrize("kind", LOSSES)
def test_a_grid_of_heads_has_the_losses_and_gradients_of_each_alone(kind: SegmentationLoss) -> None:
    loss = segmentation_loss(kind)
    pairs = [problem(2), problem(2)]
    pairs[1] = (pairs[1][0] * 3, torch.zeros_like(pairs[1][1]))  # one head meets a batch without positives
    logits = torch.stack([pair[0] for pair in pairs]).requires_grad_(True)
    masks = torch.stack([pair[1] for pair in pairs])
    together = torch.func.vmap(loss)(logits, masks)
    (gradient,) = torch.autograd.grad(together.sum(), logits)
    for place, (values, wanted) in enumerate(pairs):
        alone = values.clone().requires_grad_(True)
        value = loss(alone, wanted)
        (of_alone,) = torch.autograd.grad(value, alone, allow_unused=True)
        torch.testing.assert_close(together[place], value)
        torch.testing.assert_close(gradient[place], of_alone)
