from __future__ import annotations

import itertools

import pytest
import torch

from crossray.alignment.set_matching import MatchingCost, in_target_order, match_sets, matching_costs, select_rows


@pytest.mark.parametrize("kind", ["l1", "l2", "cosine"])
def test_costs_are_those_written_out(kind: MatchingCost) -> None:
    first, second = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    got = matching_costs(first, second, kind)
    for b, i, j in itertools.product(range(2), range(3), range(3)):
        p, q = first[b, i], second[b, j]
        wanted = {
            "l1": (p - q).abs().sum(),
            "l2": (p - q).norm(),
            "cosine": 1 - p @ q / (p.norm() * q.norm()),
        }[kind]
        assert got[b, i, j].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_the_assignment_is_the_cheapest_of_all_permutations() -> None:
    costs = torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(0))
    got = match_sets(costs)
    for sample, columns in zip(costs, got, strict=True):
        every = [sum(sample[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(4))]
        assert sample[torch.arange(4), columns].sum().item() == pytest.approx(min(float(total) for total in every))


def test_check_06_the_reference_reordering_is_wrong_by_two_thirds() -> None:
    targets = torch.eye(3).unsqueeze(0)
    predictions = targets[:, [1, 2, 0]]
    assignment = match_sets(matching_costs(predictions, targets, "l1"))
    assert assignment.tolist() == [[1, 2, 0]]
    assert (in_target_order(predictions, assignment) - targets).abs().sum().item() == 0
    assert (select_rows(predictions, assignment) - targets).abs().mean().item() == pytest.approx(2 / 3)


def test_check_06_any_permutation_of_the_targets_costs_nothing() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        targets = torch.randn(6, 16, 8, generator=generator)
        orders = torch.stack([torch.randperm(16, generator=generator) for _ in range(6)])
        predictions = select_rows(targets, orders)
        assignment = match_sets(matching_costs(predictions, targets, "l1"))
        torch.testing.assert_close(in_target_order(predictions, assignment), targets, rtol=0, atol=0)


def test_a_cost_that_is_no_number_still_gives_an_assignment() -> None:
    costs = torch.full((1, 3, 3), torch.nan)
    assert sorted(match_sets(costs)[0].tolist()) == [0, 1, 2]
