from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from crossray.errors import ConfigError
from crossray.evaluation.localized.config import LocalizedConfig, batches_per_epoch
from crossray.evaluation.localized.watch import EarlyStop, Plateau, Watch


@pytest.mark.parametrize(
    ("task", "films", "batch_size", "batches"),
    [
        ("1, 4, 7", 160, 8, 20),
        ("2, 5, 8", 1_601, 64, 25),
        ("3, 6, 9", 16_010, 64, 250),
        ("COVID", 133, 8, 16),
        ("SIIM", 7_229, 64, 112),
        ("Object", 6_400, 64, 100),
        ("NIH", 588, 64, 9),
    ],
)
def test_E09_batches_an_epoch_with_drop_last(task: str, films: int, batch_size: int, batches: int) -> None:
    assert batches_per_epoch(films, batch_size) == batches, task


def test_fewer_films_than_a_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match="7 training films do not fill one batch of 8"):
        batches_per_epoch(7, 8)


@pytest.mark.parametrize("seed", range(5))
def test_the_plateau_is_pytorch_s(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    losses = (1 + 0.3 * torch.randn(60, generator=generator) * torch.linspace(1, 0, 60)).tolist()
    losses[10] = math.nan
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    ours = Plateau(0.1, 0.5, 3)
    for loss in losses:
        theirs.step(loss)
        ours.observe(loss)
        assert ours.rate == optimizer.param_groups[0]["lr"]
    assert ours.rate < 0.1


def test_a_plateau_without_patience_keeps_its_rate() -> None:
    plateau = Plateau(0.1, 0.5, None)
    for _ in range(20):
        plateau.observe(1.0)
    assert plateau.rate == 0.1


def test_early_stop_waits_for_its_patience_and_remembers_the_best_epoch() -> None:
    stop = EarlyStop(patience=2, min_delta=0.1)
    better = [stop.observe(epoch, value) for epoch, value in enumerate([0.2, 0.5, 0.55, 0.7, 0.75, 0.6], start=1)]
    assert better == [True, True, False, True, False, False]
    assert (stop.best_epoch, stop.is_over) == (4, True)


def test_a_metric_that_is_undefined_is_never_better() -> None:
    stop = EarlyStop(patience=3, min_delta=0.0)
    assert [stop.observe(epoch, value) for epoch, value in enumerate([math.nan, 0.1, math.nan], start=1)] == [
        True,
        True,
        False,
    ]


def test_a_run_may_be_chosen_by_its_validation_loss() -> None:
    watch = Watch(LocalizedConfig(learning_rate=0.1, selection="loss", max_epochs=3))
    for loss, metric in ((1.0, 0.1), (0.5, 0.0), (0.7, 0.9)):
        watch.observe(loss, metric)
    assert watch.best.epoch == 2
    assert watch.is_over


def test_warm_up_belongs_to_a_trunk_that_learns() -> None:
    with pytest.raises(ValidationError, match="belong to trunk: finetune"):
        LocalizedConfig(learning_rate=0.1, warmup_batches=10)
