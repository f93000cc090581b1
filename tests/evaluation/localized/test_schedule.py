"""Rates by step, epochs that are looked at, and the optimiser's groups: what BenchX adds to the loop (8.1)."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from crossray.evaluation.heads.classification import LinearClassification
from crossray.evaluation.heads.maps import FeatureMaps
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.localized.config import CosineDecay, LocalizedConfig, batches_per_epoch
from crossray.evaluation.localized.model import LocalizedModel
from crossray.evaluation.localized.parts import LocalizedPart
from crossray.evaluation.localized.scorers import AurocScorer
from crossray.evaluation.localized.tasks import ClassificationTask
from crossray.evaluation.localized.training import LocalizedResult, make_optimizer, train_localized
from crossray.evaluation.localized.watch import Watch
from tests.evaluation.heads.trunks import small_trunk
from tests.evaluation.localized.small import CHANNELS, squares

# The published schedule by hand: 50 steps up, then cos from 0 to pi in 2,950 steps. 1,525 is half way down, 4,475 half
# way up again, 5,950 the top; near the bottom (1 - cos x) / 2 is x^2 / 4.
BY_HAND = {0: 0, 1: 0.02, 25: 0.5, 49: 0.98, 50: 1, 1525: 0.5, 3000: 0}
AFTER_THE_END = {3001: (math.pi / 2950) ** 2 / 4, 4475: 0.5, 5950: 1, 8900: 0}


def config(**options: object) -> LocalizedConfig:
    plain = {"learning_rate": 1e-2, "batch_size": 4, "max_epochs": 2, "trunk": "finetune", "plateau_patience": None}
    return LocalizedConfig.model_validate(plain | options)


def labels_part(count: int, seed: int = 0) -> LocalizedPart[Tensor]:
    films, masks, _ = squares(count, seed)
    labels = masks.flatten(1).any(dim=1, keepdim=True).float()
    return LocalizedPart(films.__getitem__, labels.__getitem__, torch.arange(count))


def train(schedule: LocalizedConfig, films: int = 8, part: LocalizedPart[Tensor] | None = None) -> LocalizedResult:
    trunk = small_trunk("test_resnet")
    head = partial(LinearClassification, trunk.channels, 1)
    parts = (part or labels_part(films), labels_part(6, 1))
    return train_localized(trunk, head, ClassificationTask(), *parts, AurocScorer, schedule)


@pytest.mark.parametrize("clamped", [True, False])
def test_the_cosine_is_the_published_one_and_rises_again_only_if_it_is_not_clamped(clamped: bool) -> None:
    cosine = CosineDecay(warmup_steps=50, total_steps=3000, clamped=clamped)
    for step, factor in BY_HAND.items():
        assert cosine.factor(step) == pytest.approx(factor, abs=1e-12), step
    for step, factor in AFTER_THE_END.items():
        assert cosine.factor(step) == pytest.approx(0 if clamped else factor, abs=1e-9), step
    falling = [cosine.factor(step) for step in range(50, 3001)]
    assert all(later < earlier for earlier, later in pairwise(falling))


def test_a_cosine_without_warm_up_or_of_warm_up_alone_is_defined() -> None:
    assert CosineDecay(warmup_steps=0, total_steps=1).factor(0) == 1
    assert [CosineDecay(warmup_steps=2, total_steps=2).factor(step) for step in range(4)] == [0, 0.5, 1, 0]


@pytest.mark.parametrize("clamped", [True, False])
def test_every_step_of_a_training_has_the_rate_of_the_cosine(clamped: bool) -> None:
    # Two batches an epoch: the epochs end with the steps 1, 3, 5, 7, 9.
    cosine = {"warmup_steps": 2, "total_steps": 6, "clamped": clamped}
    result = train(config(cosine=cosine, max_epochs=5, patience=9))
    rates = [record.learning_rate / 1e-2 for record in result.history]
    quarter = 0.5 * (1 + math.cos(math.pi / 4))
    falls, rises = [0.5, quarter, 1 - quarter], [1 - quarter, quarter]
    assert rates == pytest.approx(falls if clamped else falls + rises)


@pytest.mark.parametrize(
    ("total", "looked", "steps"),
    [(5, [1, 2, 3], 5), (6, [1, 2, 3], 6), (7, [1, 2, 3, 4], 7), (99, [1, 2, 3, 4, 5], 10)],
)
def test_a_clamped_cosine_ends_the_training_with_its_last_step(total: int, looked: list[int], steps: int) -> None:
    drawn: list[Tensor] = []
    part = labels_part(8)

    def counted(places: Tensor) -> Tensor | FeatureMaps:
        drawn.append(places)
        return part.inputs(places)

    cosine = {"warmup_steps": 1, "total_steps": total}
    counting = LocalizedPart(counted, part.targets, part.places)
    result = train(config(cosine=cosine, max_epochs=5, patience=9), part=counting)  # two batches an epoch
    assert [record.epoch for record in result.history] == looked
    assert len(drawn) == steps


def test_the_end_of_the_cosine_is_looked_at_before_the_first_look_and_is_the_last_epoch() -> None:
    seldom = config(cosine={"warmup_steps": 1, "total_steps": 5}, max_epochs=200, first_look=10, patience=10)
    assert [record.epoch for record in train(seldom).history] == [3]
    of_films = seldom.of_films(8)
    assert (of_films.max_epochs, of_films.fewest_epochs, of_films.looks(3)) == (3, 3, 1)
    published = seldom.model_copy(update={"cosine": CosineDecay(warmup_steps=1, total_steps=5, clamped=False)})
    assert published.of_films(8).max_epochs == 200


def test_a_rate_has_one_master() -> None:
    cosine = CosineDecay(warmup_steps=1, total_steps=2)
    for other in ({"plateau_patience": 3}, {"warmup_batches": 2}, {"rate_resets": True}):
        with pytest.raises(ValidationError, match="cosine sets every rate"):
            config(cosine=cosine, **other)
    with pytest.raises(ValidationError, match="trunk_rate belongs to trunk: finetune"):
        config(trunk="frozen", trunk_rate=0.1)


def test_validation_is_looked_at_from_the_tenth_epoch_every_fifth_and_at_the_end() -> None:
    schedule = config(max_epochs=200, first_look=10, look_every=5, patience=10)
    looked = [epoch for epoch in range(1, 201) if schedule.is_looked_at(epoch)]
    assert looked == list(range(10, 201, 5))
    assert (schedule.looks(200), schedule.looks(9), schedule.looks(10)) == (39, 0, 1)
    assert schedule.fewest_epochs == 60
    quick = config(max_epochs=2, first_look=10, look_every=5)
    assert [quick.is_looked_at(epoch) for epoch in (1, 2)] == [False, True]
    every = config(max_epochs=5, patience=2)
    assert all(every.is_looked_at(epoch) for epoch in range(1, 6))
    assert every.fewest_epochs == 3


def test_patience_counts_looks_and_not_epochs() -> None:
    watch = Watch(config(max_epochs=200, first_look=10, look_every=5, patience=10, min_delta=0))
    values = iter([0.5, 0.6, *[0.6] * 50])
    while not watch.is_over:
        if watch.looks_next:
            watch.observe(1.0, next(values))
        else:
            watch.pass_over()
    assert (watch.best.epoch, watch.epochs, len(watch.history)) == (15, 65, 12)
    assert [record.epoch for record in watch.history] == list(range(10, 66, 5))


def test_a_training_that_is_looked_at_seldom_keeps_the_best_of_the_epochs_looked_at() -> None:
    seldom = train(config(max_epochs=5, first_look=2, look_every=2, patience=9))
    assert [record.epoch for record in seldom.history] == [2, 4, 5]
    always = train(config(max_epochs=5, patience=9))
    by_epoch = {record.epoch: record for record in always.history}
    assert [by_epoch[record.epoch] for record in seldom.history] == list(seldom.history)


def test_the_rest_of_an_epoch_is_dropped_or_kept() -> None:
    assert batches_per_epoch(10, 4) == 2
    assert batches_per_epoch(10, 4, keep_last=True) == 3
    assert batches_per_epoch(8, 4, keep_last=True) == 2
    seen: list[int] = []

    class Counting(LinearClassification):
        def forward(self, maps: FeatureMaps) -> Tensor:
            if self.training:
                seen.append(len(maps.pooled))
            return super().forward(maps)

    trunk = small_trunk("test_resnet")
    parts = (labels_part(10), labels_part(6, 1))
    schedule = config(keep_last=True, max_epochs=1)
    train_localized(trunk, lambda: Counting(trunk.channels, 1), ClassificationTask(), *parts, AurocScorer, schedule)
    assert seen == [4, 4, 2]


def model_of(trunk: MapTrunk) -> LocalizedModel:
    return LocalizedModel(trunk, LinearClassification(trunk.channels, 1, layer_norm=True))


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_the_trunk_has_its_share_of_the_rate_and_every_weight_is_in_one_group(
    name: str, kind: type[torch.optim.Optimizer]
) -> None:
    model = model_of(small_trunk("test_resnet"))
    optimizer = make_optimizer(model, config(optimizer=name, trunk_rate=0.1))
    assert type(optimizer) is kind
    trunk, head = optimizer.param_groups
    assert (trunk["share"], head["share"]) == (0.1, 1.0)
    assert [id(each) for each in trunk["params"]] == [id(each) for each in model.trunk.parameters()]
    assert [id(each) for each in head["params"]] == [id(each) for each in model.head.parameters()]
    assert len(head["params"]) == 4  # of the norm and of the layer
    if name == "sgd":
        assert trunk["momentum"] == head["momentum"] == 0.9
    (alone,) = make_optimizer(model, config(trunk="frozen")).param_groups
    assert [id(each) for each in alone["params"]] == [id(each) for each in model.head.parameters()]


def test_a_step_moves_the_trunk_by_its_share() -> None:
    # One step of SGD without momentum: what a share of 1/10 moves the trunk by is a tenth of what 1 does.
    moved = {}
    for share in (1.0, 0.1):
        trunk = small_trunk("test_resnet")
        schedule = config(optimizer="sgd", trunk_rate=share, max_epochs=1, batch_size=8, weight_decay=0)
        head = partial(LinearClassification, trunk.channels, 1)
        result = train_localized(
            trunk, head, ClassificationTask(), labels_part(8), labels_part(6, 1), AurocScorer, schedule
        )
        first, last = (next(iter(each.parameters())) for each in (trunk, result.model.trunk))
        moved[share] = (last - first).detach(), result.model.head.state_dict()["classify.weight"]
    assert torch.allclose(10 * moved[0.1][0], moved[1.0][0], atol=1e-6)
    assert moved[1.0][0].abs().max() > 1e-5
    assert torch.equal(moved[0.1][1], moved[1.0][1])


def test_the_gradient_is_clipped_over_trunk_and_head_together() -> None:
    lengths: list[float] = []
    for clip in (None, 1e-3):
        trunk = small_trunk("test_resnet")
        schedule = config(
            optimizer="sgd", max_epochs=1, batch_size=8, weight_decay=0, clip_norm=clip, learning_rate=1.0
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            fresh = LinearClassification(trunk.channels, 1)
        head = partial(LinearClassification, trunk.channels, 1)
        result = train_localized(
            trunk, head, ClassificationTask(), labels_part(8), labels_part(6, 1), AurocScorer, schedule
        )
        pairs = [*zip(trunk.parameters(), result.model.trunk.parameters(), strict=True)]
        pairs += zip(fresh.parameters(), result.model.head.parameters(), strict=True)
        lengths.append(math.sqrt(sum(float(((a - b) ** 2).detach().sum()) for a, b in pairs)))
    assert lengths[0] > 1e-2
    assert lengths[1] == pytest.approx(1e-3, rel=1e-3)  # 1 step with rate 1 is as long as the clipped gradient


def test_the_head_normalises_the_feature_first_and_begins_with_almost_nothing() -> None:
    maps = FeatureMaps({}, (16, 16), torch.randn(5, 12))
    torch.manual_seed(0)
    head = LinearClassification(CHANNELS, 300, layer_norm=True, weight_std=2e-5)
    wanted = F.linear(F.layer_norm(maps.pooled, (12,), eps=1e-6), head.classify.weight, head.classify.bias)
    assert torch.allclose(head(maps), wanted, atol=1e-6)
    assert head.norm.eps == 1e-6
    assert float(head.classify.weight.detach().std()) == pytest.approx(2e-5, rel=0.05)
    plain = LinearClassification(CHANNELS, 2)
    assert torch.equal(plain(maps), F.linear(maps.pooled, plain.classify.weight, plain.classify.bias))
    assert float(plain.classify.weight.detach().abs().max()) > 1e-2


def test_training_sees_varied_films_and_validation_does_not() -> None:
    films, masks, _ = squares(8)
    labels = masks.flatten(1).any(dim=1, keepdim=True).float()
    asked: list[tuple[int, int]] = []

    def varied(places: Tensor, seed: int, epoch: int) -> Tensor:
        asked.append((seed, epoch))
        return films[places].flip(-1)

    part = LocalizedPart(films.__getitem__, labels.__getitem__, torch.arange(8), varied)
    flipped = LocalizedPart(films.flip(-1).__getitem__, labels.__getitem__, torch.arange(8))
    one, other = train(config(seed=3), part=part), train(config(seed=3), part=flipped)
    assert one.history == other.history
    assert asked == [(3, 0), (3, 0), (3, 1), (3, 1)]
