from __future__ import annotations

import torch

from crossray.alignment.k_means import k_means, nearest


def test_k_means_finds_separate_clouds() -> None:
    generator = torch.Generator().manual_seed(0)
    wanted = 20 * torch.eye(4)
    points = wanted.repeat_interleave(25, dim=0) + torch.randn(100, 4, generator=generator)
    centres = k_means(points, 4, iterations=10, generator=generator)
    order = nearest(wanted, centres)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    means = points.view(4, 25, 4).mean(dim=1)
    torch.testing.assert_close(centres[order], means)


def test_fewer_points_than_centres_are_repeated() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    centres = k_means(points, 5, iterations=3, generator=torch.Generator().manual_seed(0))
    assert centres.shape == (5, 2)
    assert set(map(tuple, centres.tolist())) == set(map(tuple, points.tolist()))
