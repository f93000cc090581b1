from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossray.alignment.masked import (
    count_by_index,
    masked_max,
    masked_mean,
    masked_softmax,
    max_by_index,
    sum_by_index,
)
from crossray.alignment.segments import segment_logsumexp, segment_max, segment_softmax_, segment_sum

VALUES = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[True, True, False, True, False], [True] * 5, [False] * 5])


def test_masked_reductions_agree_with_slices_and_are_zero_where_nothing_is_real() -> None:
    mean, largest = masked_mean(VALUES, MASK, dim=1), masked_max(VALUES, MASK, dim=1)
    for row in (0, 1):
        torch.testing.assert_close(mean[row], VALUES[row][MASK[row]].mean(0))
        torch.testing.assert_close(largest[row], VALUES[row][MASK[row]].amax(0))
    assert mean[2].eq(0).all()
    assert largest[2].eq(0).all()


@pytest.mark.parametrize("junk", [1e30, float("nan"), float("inf")])
def test_what_padding_holds_never_matters(junk: float) -> None:
    spoiled = VALUES.masked_fill(~MASK.unsqueeze(2), junk)
    assert torch.equal(masked_mean(spoiled, MASK, dim=1), masked_mean(VALUES, MASK, dim=1))
    assert torch.equal(masked_max(spoiled, MASK, dim=1), masked_max(VALUES, MASK, dim=1))
    real = MASK.unsqueeze(2)
    assert torch.equal(masked_softmax(spoiled, real, dim=1), masked_softmax(VALUES, real, dim=1))


def test_masked_softmax_sums_to_one_over_what_is_real() -> None:
    weights = masked_softmax(VALUES, MASK.unsqueeze(2), dim=1)
    torch.testing.assert_close(weights.sum(1), torch.tensor([[1.0] * 4, [1.0] * 4, [0.0] * 4]))
    torch.testing.assert_close(weights[0][MASK[0]], VALUES[0][MASK[0]].softmax(0))


def test_sum_by_index_agrees_with_the_loop_in_value_and_gradient() -> None:
    index = torch.tensor([[0, 0, 1, -1, 4], [2, 2, 2, 2, 2], [-1] * 5])
    vectors = VALUES.clone().requires_grad_()
    fast = sum_by_index(vectors, index, 5)
    slow = torch.zeros(3, 5, 4)
    for b in range(3):
        for token in range(5):
            if index[b, token] >= 0:
                slow[b, index[b, token]] += VALUES[b, token]
    torch.testing.assert_close(fast, slow)
    (gradient,) = torch.autograd.grad(fast.sum(), vectors)
    assert torch.equal(gradient, (index >= 0).unsqueeze(2).expand(3, 5, 4).float())
    assert count_by_index(index, 5).tolist() == [[2, 1, 0, 0, 1], [0, 0, 5, 0, 0], [0] * 5]


def test_segment_reductions_agree_with_slices() -> None:
    rows = VALUES.view(15, 4)[:7]
    segment = torch.tensor([0, 0, 0, 2, 3, 3, 3])
    parts = {0: rows[:3], 2: rows[3:4], 3: rows[4:]}

    def logsumexp(part: Tensor) -> Tensor:
        return part.logsumexp(0)

    def largest(part: Tensor) -> Tensor:
        return part.amax(0)

    def total(part: Tensor) -> Tensor:
        return part.sum(0)

    results = (
        (segment_sum(rows, segment, 5), total),
        (segment_max(rows, segment, 5), largest),
        (segment_logsumexp(rows, segment, 5), logsumexp),
    )
    for got, wanted in results:
        for place, part in parts.items():
            torch.testing.assert_close(got[place], wanted(part))
        assert got[[1, 4]].eq(0).all()
    softmax = segment_softmax_(rows.clone(), segment, 5)
    for place, part in parts.items():
        torch.testing.assert_close(softmax[segment == place], part.softmax(0))


def test_max_by_index_agrees_with_the_loop() -> None:
    vectors = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0)) - 5
    index = torch.tensor([[0, 0, 2, -1, 2, 2], [-1, -1, -1, 1, -1, -1]])
    found = max_by_index(vectors, index, 4)
    for row in range(2):
        for slot in range(4):
            own = vectors[row][index[row] == slot]
            wanted = own.amax(dim=0) if len(own) else torch.zeros(3)
            torch.testing.assert_close(found[row, slot], wanted)
