from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from crossray.errors import ConfigError
from crossray.methods.attention_pool import AttentionPool


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def torch_attention(pool: AttentionPool, channels: int) -> nn.MultiheadAttention:
    """torch's own attention with the pool's weights."""
    theirs = nn.MultiheadAttention(channels, pool.heads, batch_first=True).double()
    with torch.no_grad():
        layers = (pool.query, pool.key, pool.value)
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        theirs.out_proj.load_state_dict(pool.output.state_dict())
    return theirs


def pool_of(channels: int, heads: int) -> AttentionPool:
    torch.manual_seed(0)
    pool = AttentionPool(channels, heads).double()
    for parameter in pool.parameters():
        nn.init.normal_(parameter, std=0.5)
    return pool


@pytest.mark.parametrize("padded_mean", [False, True], ids=["clean", "published"])
def test_the_pool_is_multi_head_attention_of_the_mean_in_value_weights_and_gradient(padded_mean: bool) -> None:
    pool = pool_of(12, 4)
    theirs = torch_attention(pool, 12)
    items = some(3, 5, 12).requires_grad_()
    mask = torch.arange(5) < torch.tensor([[5], [2], [1]])
    pooled = pool(items, mask, padded_mean=padded_mean)
    divisor = torch.full((3,), 5) if padded_mean else mask.sum(1)  # the defect: by all slots (section 5.3)
    mean = (items * mask.unsqueeze(2)).sum(1, keepdim=True) / divisor.view(3, 1, 1)
    wanted, weights = theirs(mean, items, items, key_padding_mask=~mask)
    torch.testing.assert_close(pooled.vector, wanted[:, 0])
    torch.testing.assert_close(pooled.weights, weights[:, 0])
    probe = some(12)
    (mine,) = torch.autograd.grad((pooled.vector @ probe).sum(), items)
    (reference,) = torch.autograd.grad((wanted[:, 0] @ probe).sum(), items)
    torch.testing.assert_close(mine, reference)


def test_check_l11_weights_sum_to_one_and_leave_padding_out() -> None:
    pool, mask = pool_of(8, 2), torch.arange(4) < torch.tensor([[4], [1], [0]])
    weights = pool(some(3, 4, 8), mask).weights
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    assert (weights[~mask] == 0).all()
    assert (weights[mask] > 0).all()


def test_padding_changes_nothing_and_no_item_at_all_is_finite() -> None:
    pool, items = pool_of(8, 2), some(2, 3, 8)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    pooled = pool(items, mask)
    longer = torch.cat([items, torch.full((2, 2, 8), 1e6)], dim=1)
    again = pool(longer, torch.cat([mask, torch.zeros(2, 2, dtype=torch.bool)], dim=1))
    torch.testing.assert_close(again.vector, pooled.vector)
    assert pooled.vector.isfinite().all()


def test_the_padded_mean_depends_on_the_longest_report() -> None:
    """Section 5.3: the published query divides by the padded length, so a neighbour's length changes a report."""
    pool, items = pool_of(8, 2), some(1, 4, 8)
    mask = torch.tensor([[True, True, False, False]])
    short = pool(items[:, :2], mask[:, :2], padded_mean=True)
    long = pool(items, mask, padded_mean=True)
    torch.testing.assert_close(short.vector, pool(items, mask).vector)
    assert (short.vector - long.vector).abs().max() > 1e-3
    theirs = torch_attention(pool, 8)
    wanted, _ = theirs(items[:, :2].sum(1, keepdim=True) / 4, items, items, key_padding_mask=~mask)
    torch.testing.assert_close(long.vector, wanted[:, 0])


def test_an_item_alone_gives_what_each_gives() -> None:
    pool, items = pool_of(8, 2), some(1, 3, 8)
    alone = pool(items[:, 1:2], torch.ones(1, 1, dtype=torch.bool)).vector
    torch.testing.assert_close(pool.each(items)[:, 1], alone)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="pool_heads"):
        AttentionPool(10, 4)


def test_weights_begin_as_torch_s_attention_or_as_its_linear_layers() -> None:
    torch.manual_seed(0)
    published, pool, plain = nn.MultiheadAttention(64, 8), AttentionPool(64), AttentionPool(64, start="linear")
    for layer in (pool.query, pool.key, pool.value):
        assert layer.weight.std().item() == pytest.approx(published.in_proj_weight.std().item(), rel=0.03)
        assert layer.weight.abs().max() <= (6 / (4 * 64)) ** 0.5
        assert layer.bias.eq(0).all()
    for layer in (plain.query, plain.key, plain.value, plain.output):
        assert layer.weight.std().item() == pytest.approx((1 / (3 * 64)) ** 0.5, rel=0.03)
        assert layer.bias.ne(0).any()
