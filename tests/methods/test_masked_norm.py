from __future__ import annotations

import torch
from torch import Tensor, nn

from crossray.methods.masked_norm import MaskedBatchNorm
from crossray.training.gradient_cache import has_live_batch_norm, paused_running_statistics


def some(*shape: int) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1


MASK = torch.arange(4) < torch.tensor([[4], [2], [0]])


def test_it_is_batch_norm_of_the_real_positions_in_value_gradient_and_running_statistics() -> None:
    ours, torchs = MaskedBatchNorm(5).double(), nn.BatchNorm1d(5).double()
    values = some(3, 4, 5).requires_grad_()
    for step in range(3):
        got, want = ours(values + step, MASK)[MASK], torchs((values + step)[MASK])
        torch.testing.assert_close(got, want)
    assert torch.equal(ours.state_dict()["num_batches_tracked"], torchs.state_dict()["num_batches_tracked"])
    torch.testing.assert_close(dict(ours.state_dict()), dict(torchs.state_dict()))
    probe = some(5)
    (mine,) = torch.autograd.grad((got @ probe).square().sum(), values)
    (theirs,) = torch.autograd.grad((want @ probe).square().sum(), values)
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(ours.eval()(values), torchs.eval()(values.flatten(0, 1)).view(3, 4, 5))


def test_without_a_mask_every_position_counts() -> None:
    values = some(6, 5)
    torch.testing.assert_close(MaskedBatchNorm(5).double()(values), nn.BatchNorm1d(5).double()(values))


def test_one_position_becomes_the_bias_and_none_stays_finite() -> None:
    norm = MaskedBatchNorm(5).double()
    nn.init.normal_(norm.bias)
    torch.testing.assert_close(norm(some(1, 5))[0], norm.bias.detach())
    before = {name: value.clone() for name, value in norm.state_dict().items() if name.startswith("running")}
    assert norm(some(2, 5), torch.zeros(2, dtype=torch.bool)).isfinite().all()
    for name, value in before.items():
        assert torch.equal(norm.state_dict()[name], value)


def test_gradient_caching_can_pause_it() -> None:
    norm = MaskedBatchNorm(5).double()
    assert has_live_batch_norm(norm)
    with paused_running_statistics(norm):
        paused = norm(some(6, 5))
    assert torch.equal(norm.state_dict()["running_mean"], torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(norm(some(6, 5)), paused)
