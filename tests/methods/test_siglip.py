from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossray.methods.base import PairFeatures, SingleProcess
from crossray.methods.siglip import Siglip, SiglipConfig

from ..small_model import pair_batch, reports, small_method


def method(**options: object) -> Siglip:
    built = small_method(SiglipConfig.model_validate(options))
    assert isinstance(built, Siglip)
    return built.double()


def features(image: Tensor, report: Tensor, groups: Tensor | None = None) -> PairFeatures:
    return {
        "image": image,
        "report": report,
        "text_group": torch.arange(len(image)) if groups is None else groups,
        "label_codes": torch.zeros(len(image), 1, dtype=torch.int64),
    }


def orthogonal(count: int) -> tuple[Tensor, Tensor]:
    """Films and reports whose cosines are all 0: each has a dimension that the other side does not know."""
    basis = torch.eye(2, dtype=torch.float64)
    return basis[:1].repeat(count, 1), basis[1:].repeat(count, 1)


def test_b5_values_at_the_start() -> None:
    basis = torch.eye(4, dtype=torch.float64)
    assert method().losses(features(basis, basis), SingleProcess()).total.item() == pytest.approx(0.693283, abs=1e-6)
    for count, wanted in ((4, 10.000182), (588, 10.026695)):
        loss = method().losses(features(*orthogonal(count)), SingleProcess()).total
        assert loss.item() == pytest.approx(wanted, abs=1e-6)


def test_b5_the_first_gradient_of_the_bias_comes_from_the_positives() -> None:
    model = method()
    (gradient,) = torch.autograd.grad(model.losses(features(*orthogonal(4)), SingleProcess()).total, [model.bias])
    assert gradient.item() == pytest.approx(-1, abs=1e-3)


def test_b5_the_mean_over_ranks_is_the_loss_of_the_whole_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    image, report = (torch.randn(8, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    model = method()
    cosines = torch.nn.functional.normalize(image) @ torch.nn.functional.normalize(report).T
    signs = 2 * torch.eye(8, dtype=torch.float64) - 1
    by_rank = []
    for rank in range(2):
        rows = slice(4 * rank, 4 * rank + 4)
        logits = model.scale * cosines[rows] + model.bias
        by_rank.append(torch.nn.functional.softplus(-signs[rows] * logits).sum() / 4)
    whole = model.losses(features(image, report), SingleProcess()).total
    torch.testing.assert_close(whole, torch.stack(by_rank).mean())


def test_shared_texts_and_labels_are_positives_unless_the_preset_is_the_published_one() -> None:
    image, report = orthogonal(3)
    groups = torch.tensor([0, 1, 0])
    softplus_10 = 10.0000453989
    shared = method().losses(features(image, report, groups), SingleProcess()).total.item()
    assert shared == pytest.approx((5 * softplus_10 + 4 * 4.53989e-5) / 3, abs=1e-6)
    reference = method(preset="reference").losses(features(image, report, groups), SingleProcess()).total.item()
    assert reference == pytest.approx((3 * softplus_10 + 6 * 4.53989e-5) / 3, abs=1e-6)
    by_label = method(positives="same_label").losses(features(image, report), SingleProcess()).total.item()
    assert by_label == pytest.approx(3 * softplus_10, abs=1e-6)


def test_scale_bias_and_every_other_weight_learn() -> None:
    model = method().float().train()
    losses = model.losses(model.encode(pair_batch(reports(5))), SingleProcess())
    gradients = torch.autograd.grad(losses.total, list(model.parameters()), allow_unused=True)
    untouched = [n for (n, _), g in zip(model.named_parameters(), gradients, strict=True) if g is None]
    assert untouched == []
