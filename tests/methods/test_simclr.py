from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from crossray.errors import ConfigError
from crossray.methods.base import SingleProcess
from crossray.methods.simclr import SimClr, SimClrConfig

from ..small_model import pair_batch, reports, small_method


def method() -> SimClr:
    built = small_method(SimClrConfig()).eval()
    assert isinstance(built, SimClr)
    return built


def test_it_asks_for_two_views_and_swapping_them_changes_nothing() -> None:
    model, batch = method(), pair_batch(reports(4))
    assert model.image_views == 2
    assert batch.second_view is not None
    swapped = replace(batch, pixels=batch.second_view, second_view=batch.pixels)
    loss, other = (model.losses(model.encode(views), SingleProcess()).total for views in (batch, swapped))
    torch.testing.assert_close(loss, other)


def test_a_batch_with_one_view_is_refused() -> None:
    with pytest.raises(ConfigError, match="two views"):
        method().encode(replace(pair_batch(reports(4)), second_view=None))


def test_the_projection_has_128_outputs_and_reports_do_not_matter() -> None:
    model = method()
    features, others = (model.encode(pair_batch(texts)) for texts in (reports(3), reports(6)[3:]))
    assert features["first"].shape == (3, 128)
    torch.testing.assert_close(features, others)


@pytest.mark.parametrize("projection", ["linear", "mlp", "mlp_batch_norm"])
def test_gradients_reach_every_weight(projection: str) -> None:
    model = small_method(SimClrConfig.model_validate({"projection": projection})).train()
    loss = model.losses(model.encode(pair_batch(reports(4))), SingleProcess()).total
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    assert all(gradient is not None for gradient in gradients)
