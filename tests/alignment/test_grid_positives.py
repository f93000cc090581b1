from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossray.alignment.grid_positives import grid_positives

from .lovt_oracles import grid_positives_by_loop

LIKE = torch.zeros(1, dtype=torch.float64)


def positives(rows: int, columns: int, threshold: float = 0.5, decay: float = 1.0) -> Tensor:
    return grid_positives(rows, columns, threshold=threshold, decay=decay, like=LIKE)


def test_check_l01_the_positives_of_seven_by_seven() -> None:
    p = positives(7, 7)
    counts = (p > 0).sum(1)
    assert [*counts[[0, 3, 24]].tolist(), counts.sum().item()] == [22, 33, 49, 1717]
    corner, centre = 1 / p[0, 0], 1 / p[24, 24]
    assert [corner.item(), centre.item()] == pytest.approx([16.5541, 37.6703], abs=1e-4)
    values = [p[k, m].item() for k, m in ((0, 0), (0, 1), (24, 24), (24, 25), (24, 0))]
    assert values == pytest.approx([0.060408, 0.054604, 0.026546, 0.023996, 0.017293], abs=1e-6)
    raw = p / p.diagonal().unsqueeze(1)
    assert raw[raw > 0].min().item() == pytest.approx(0.636511, abs=1e-6)
    entropy = -(p * p.clamp_min(1e-300).log()).sum(1)
    assert entropy.mean().item() == pytest.approx(3.525400, abs=1e-6)


def test_check_l02_the_positives_of_three_by_three() -> None:
    p = positives(3, 3)
    corner = [0.220031, 0.173828, 0.137327, 0.173828, 0.157659, 0, 0.137327, 0, 0]
    centre = [0.101980, 0.112439, 0.101980, 0.112439, 0.142325, 0.112439, 0.101980, 0.112439, 0.101980]
    assert p[0].tolist() == pytest.approx(corner, abs=1e-6)
    assert p[4].tolist() == pytest.approx(centre, abs=1e-6)


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (4, 4), (3, 5), (7, 7)])
@pytest.mark.parametrize(("threshold", "decay"), [(0.5, 1.0), (0.3, 2.0), (0.5, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_the_loop_agrees(grid: tuple[int, int], threshold: float, decay: float) -> None:
    torch.testing.assert_close(
        positives(*grid, threshold, decay), grid_positives_by_loop(*grid, threshold, decay), rtol=1e-6, atol=1e-7
    )


def test_a_tie_at_the_threshold_counts() -> None:
    assert (positives(2, 2) > 0).sum(1).tolist() == [4, 4, 4, 4], "the diagonal of 2 x 2 lies at exactly 0.5"
    assert (positives(1, 7, threshold=0.1) > 0).sum(1).tolist() == [1] * 7
    assert (positives(8, 6, threshold=0.3) > 0).sum(1)[0] == 11, "3 / 10 is 0.3 although its double is less"


def test_without_decay_positives_are_uniform_on_the_disc() -> None:
    p = positives(7, 7, decay=0.0)
    torch.testing.assert_close(p[0][p[0] > 0], torch.full((22,), 1 / 22, dtype=torch.float64))


def test_rows_are_normalised_by_themselves() -> None:
    p = positives(7, 7)
    torch.testing.assert_close(p.sum(1), torch.ones(49, dtype=torch.float64))
    assert not torch.equal(p, p.T)
