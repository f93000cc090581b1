from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from crossray.errors import ConfigError, DataError
from crossray.evaluation.detection.average_precision import mean_average_precision
from crossray.evaluation.heads.boxes import BoxTargets
from crossray.evaluation.heads.maps import FeatureMaps
from crossray.evaluation.heads.pyramid import SimplePyramid
from crossray.evaluation.heads.segmentation import LinearSegmentation, OnPyramid
from crossray.evaluation.heads.trunk import MapTrunk
from crossray.evaluation.heads.unet import UNet, UNetWidths
from crossray.evaluation.heads.yolo import detection_head
from crossray.evaluation.localized.config import LocalizedConfig
from crossray.evaluation.localized.parts import LocalizedPart, bytes_of_maps, frozen_maps
from crossray.evaluation.localized.scorers import BoxScorer, DiceScorer
from crossray.evaluation.localized.tasks import DetectionTask, SegmentationTask
from crossray.evaluation.localized.training import LocalizedResult, train_localized
from tests.evaluation.heads.trunks import small_trunk
from tests.evaluation.localized.small import SIDE, squares

SMALL = UNetWidths(bridge=16, steps=(16, 16, 16, 8, 8))


def map_scorer() -> BoxScorer:
    return BoxScorer(lambda found: float(mean_average_precision(found)[0]))


def masks_part(count: int, seed: int = 0) -> LocalizedPart[Tensor]:
    films, masks, _ = squares(count, seed)
    return LocalizedPart(films.__getitem__, masks.__getitem__, torch.arange(count))


def boxes_part(count: int, seed: int = 0) -> LocalizedPart[BoxTargets]:
    films, _, boxes = squares(count, seed)
    return LocalizedPart(films.__getitem__, boxes.__getitem__, torch.arange(count))


def config(**options: object) -> LocalizedConfig:
    return LocalizedConfig.model_validate({"learning_rate": 1e-2, "batch_size": 4, "max_epochs": 2, **options})


def small_unet(trunk: MapTrunk) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        if not trunk.channels.flat:
            return UNet(trunk.channels, 1, SMALL)
        pyramid = SimplePyramid(trunk.channels, width=8)
        return OnPyramid(pyramid, UNet(pyramid.channels, 1, SMALL))

    return make


def train_unet(trunk: MapTrunk, schedule: LocalizedConfig, films: int = 10) -> LocalizedResult:
    return train_localized(
        trunk, small_unet(trunk), SegmentationTask(), masks_part(films), masks_part(6, 1), DiceScorer, schedule
    )


@pytest.mark.parametrize(
    ("task", "name"),
    [("linear", "test_resnet"), ("unet", "test_resnet"), ("unet", "test_vit"), ("yolo", "test_resnet")],
)
def test_E10_a_frozen_task_leaves_every_weight_and_buffer_of_the_trunk_bit_identical(task: str, name: str) -> None:
    trunk = small_trunk(name)
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    if task == "unet":
        train_unet(trunk, config())
    elif task == "linear":
        parts = (masks_part(10), masks_part(6, 1))
        train_localized(
            trunk, lambda: LinearSegmentation(trunk.channels, 1), SegmentationTask(), *parts, DiceScorer, config()
        )
    else:
        detection = DetectionTask((SIDE, SIDE))
        make = partial(detection_head, trunk.channels, 1)
        train_localized(trunk, make, detection, boxes_part(4), boxes_part(2, 1), map_scorer, config(max_epochs=1))
    after = trunk.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_fine_tuning_leaves_the_given_trunk_as_it_is_and_moves_its_copy() -> None:
    trunk = small_trunk("test_resnet")
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    result = train_unet(trunk, config(trunk="finetune"))
    tuned = result.model.trunk.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())
    assert not any(torch.equal(value, before[name]) for name, value in tuned.items() if name.endswith("conv1.weight"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    trunk = small_trunk("test_resnet")
    first, again, other = (train_unet(trunk, config(seed=seed)) for seed in (0, 0, 1))
    weights = [result.model.head.state_dict()["classify.weight"] for result in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert first.history == again.history


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    trunk = small_trunk("test_resnet")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_unet(trunk, config(max_epochs=1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "stages", "still", "learning"),
    [("test_resnet", 2, ("stem", "conv1", "bn1", "layer1", "layer2"), ("layer3", "layer4")),
     ("test_vit", 1, ("patch_embed", "pos_embed", "blocks.0", "blocks.4"), ("blocks.5", "norm"))],
)  # fmt: skip
def test_partial_fine_tuning_moves_the_last_stages_alone(
    name: str, stages: int, still: tuple[str, ...], learning: tuple[str, ...]
) -> None:
    trunk = small_trunk(name)
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    tuned = train_unet(trunk, config(trunk=f"partial:{stages}")).model.trunk
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())
    moved = {name for name, value in tuned.state_dict().items() if not torch.equal(value, before[name])}
    assert not [tensor for tensor in moved if tensor.startswith(tuple(f"encoder.trunk.{part}" for part in still))]
    for part in learning:
        assert [tensor for tensor in moved if tensor.startswith(f"encoder.trunk.{part}")], part


def test_partial_fine_tuning_of_every_stage_is_fine_tuning() -> None:
    trunk = small_trunk("test_resnet")
    whole, every = (train_unet(trunk, config(trunk=mode)) for mode in ("finetune", "partial:5"))
    assert whole.history == every.history
    with pytest.raises(ConfigError, match=r"test_resnet has 5 feature stages; the last 6 cannot learn.*partial:5"):
        train_unet(trunk, config(trunk="partial:6"))


class _Modes(nn.Module):
    """A head that notes, at every training batch, what state the trunk and the optimiser's target are in."""

    def __init__(self, trunk: MapTrunk) -> None:
        super().__init__()
        self.inner = LinearSegmentation(trunk.channels, 1)
        self.notes: list[bool] = []

    def forward(self, maps: FeatureMaps) -> Tensor:
        if self.training:
            self.notes.append(maps.at(32).requires_grad)
        logits: Tensor = self.inner(maps)
        return logits


def _batch_norm_statistics(result_trunk: MapTrunk) -> Iterator[Tensor]:
    for name, value in result_trunk.state_dict().items():
        if name.endswith("running_mean"):
            yield value


def test_the_trunk_learns_after_the_warm_up_and_not_before() -> None:
    trunk = small_trunk("test_resnet")
    head = _Modes(trunk)
    schedule = config(trunk="finetune", warmup_batches=3, max_epochs=3, patience=9)
    train_localized(trunk, lambda: head, SegmentationTask(), masks_part(8), masks_part(4, 1), DiceScorer, schedule)
    assert head.notes == [False] * 3 + [True] * 3


def test_a_warm_up_that_never_ends_leaves_the_trunk_s_copy_as_it_was() -> None:
    trunk = small_trunk("test_resnet")
    result = train_unet(trunk, config(trunk="finetune", warmup_batches=100))
    tuned = result.model.trunk.state_dict()
    assert all(torch.equal(value, tuned[name]) for name, value in trunk.state_dict().items())


@pytest.mark.parametrize(("late", "moved"), [(False, True), (True, False)])
def test_defect_12_keeps_batch_norms_still_until_the_next_epoch(late: bool, moved: bool) -> None:
    # One epoch of four batches, the trunk free from the second one on: only the clean schedule moves statistics.
    trunk = small_trunk("test_resnet")
    result = train_unet(trunk, config(trunk="finetune", warmup_batches=1, max_epochs=1, late_train_mode=late), 16)
    changed = [
        not torch.equal(one, other)
        for one, other in zip(_batch_norm_statistics(trunk), _batch_norm_statistics(result.model.trunk), strict=True)
    ]
    assert all(changed) if moved else not any(changed)


def test_defect_12_ends_with_the_epoch() -> None:
    trunk = small_trunk("test_resnet")
    schedule = config(trunk="finetune", warmup_batches=1, max_epochs=2, patience=9, late_train_mode=True, min_delta=0)
    trunks: list[list[Tensor]] = []

    class Spy(DiceScorer):
        def value(self) -> float:
            trunks.append([])
            return float(len(trunks))  # every epoch is better, so the last one's weights are kept

    result = train_localized(
        trunk, small_unet(trunk), SegmentationTask(), masks_part(8), masks_part(4, 1), Spy, schedule
    )
    assert result.best.epoch == 2
    before, after = (list(_batch_norm_statistics(each)) for each in (trunk, result.model.trunk))
    assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize(("resets", "last_rate"), [(False, 0.0025), (True, 0.01)])
def test_defect_4_voids_the_plateau_after_the_warm_up(resets: bool, last_rate: float) -> None:
    trunk = small_trunk("test_resnet")

    class NeverBetter(DiceScorer):
        def value(self) -> float:
            return 0.0

    class Flat(SegmentationTask):
        def loss(self, outputs: Tensor, truth: Tensor) -> Tensor:
            return outputs.sum() * 0

    schedule = config(
        trunk="finetune", warmup_batches=2, max_epochs=7, patience=99, plateau_patience=1, rate_resets=resets
    )
    result = train_localized(
        trunk,
        lambda: LinearSegmentation(trunk.channels, 1),
        Flat(),
        masks_part(4),
        masks_part(2, 1),
        NeverBetter,
        schedule,
    )
    assert result.history[0].learning_rate == pytest.approx(1e-3)
    assert result.history[-1].learning_rate == pytest.approx(last_rate)


def test_the_best_epoch_s_weights_are_returned_and_training_stops_by_patience() -> None:
    trunk = small_trunk("test_resnet")
    heads: list[nn.Module] = []
    seen: list[Tensor] = []
    values = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.9])

    class Scripted(DiceScorer):
        def value(self) -> float:
            seen.append(heads[0].state_dict()["classify.weight"].clone())
            return next(values)

    def make() -> nn.Module:
        heads.append(LinearSegmentation(trunk.channels, 1))
        return heads[0]

    result = train_localized(
        trunk,
        make,
        SegmentationTask(),
        masks_part(8),
        masks_part(4, 1),
        Scripted,
        config(max_epochs=9, patience=3),
    )
    assert (result.best.epoch, len(result.history)) == (2, 5)
    assert torch.equal(result.model.head.state_dict()["classify.weight"], seen[1])


def test_a_u_net_finds_the_squares() -> None:
    trunk = small_trunk("test_resnet")
    result = train_unet(trunk, config(max_epochs=5, learning_rate=1e-2, patience=10), films=32)
    assert result.best.validation_metric > 0.3


def test_a_detector_learns_its_own_training_films() -> None:
    trunk = small_trunk("test_resnet")
    part = boxes_part(4)
    schedule = config(max_epochs=3, learning_rate=1e-3, trunk="finetune", warmup_batches=1)
    make = partial(detection_head, trunk.channels, 1)
    result = train_localized(trunk, make, DetectionTask((SIDE, SIDE)), part, part, map_scorer, schedule)
    losses = [record.validation_loss for record in result.history]
    assert losses == sorted(losses, reverse=True)


def test_maps_that_were_made_once_train_the_same_head_as_the_films() -> None:
    trunk = small_trunk("test_vit")
    films, masks, _ = squares(14)
    maps = frozen_maps(trunk, films.__getitem__, 14, strides=(16,), batch_size=5)
    results = []
    for inputs in (films.__getitem__, maps):
        part: LocalizedPart[Tensor] = LocalizedPart(inputs, masks.__getitem__, torch.arange(10))
        validation = part.only(torch.arange(10, 14))
        make = partial(LinearSegmentation, trunk.channels, 1)
        results.append(train_localized(trunk, make, SegmentationTask(), part, validation, DiceScorer, config()))
    for one, other in zip(results[0].history, results[1].history, strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-4)


def test_a_trunk_that_learns_refuses_maps() -> None:
    trunk = small_trunk("test_resnet")
    films, masks, _ = squares(8)
    maps = frozen_maps(trunk, films.__getitem__, 8, strides=(32,))
    part: LocalizedPart[Tensor] = LocalizedPart(maps, masks.__getitem__, torch.arange(8))
    with pytest.raises(ConfigError, match="needs films"):
        train_localized(
            trunk,
            lambda: LinearSegmentation(trunk.channels, 1),
            SegmentationTask(),
            part,
            part,
            DiceScorer,
            config(trunk="finetune"),
        )


def test_boxes_told_in_another_size_than_the_trunk_sees_are_refused() -> None:
    trunk = small_trunk("test_resnet")
    with pytest.raises(ConfigError, match=r"224 x 224.*64 x 64"):
        train_localized(
            trunk,
            lambda: detection_head(trunk.channels, 1),
            DetectionTask(),
            boxes_part(4),
            boxes_part(4),
            map_scorer,
            config(),
        )


def test_memory_of_maps_is_told_beforehand() -> None:
    trunk = small_trunk("test_resnet")
    films, _, _ = squares(3)
    maps = frozen_maps(trunk, films.__getitem__, 3, strides=(16, 32)).maps
    numbers = maps.pooled[0].numel() + sum(each[0].numel() for each in maps.maps.values())
    assert bytes_of_maps(trunk, (SIDE, SIDE), (16, 32)) == 4 * numbers


def test_a_vit_is_fine_tuned_with_its_pyramid() -> None:
    trunk = small_trunk("test_vit")
    result = train_unet(trunk, config(trunk="finetune", warmup_batches=1, learning_rate=1e-3), films=12)
    before, after = trunk.state_dict(), result.model.trunk.state_dict()
    moved = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert any("blocks.0" in name for name in moved)


def test_maps_of_no_film_are_refused() -> None:
    with pytest.raises(DataError, match="no film"):
        frozen_maps(small_trunk("test_resnet"), films_of_nothing, 0)


def films_of_nothing(places: Tensor) -> Tensor:
    return torch.zeros(len(places), 1, SIDE, SIDE)
