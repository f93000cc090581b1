from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossray.encoders.image import parameter_count
from crossray.errors import ConfigError, DataError
from crossray.evaluation.heads.boxes import BoxTargets, joined_targets
from crossray.evaluation.heads.yolo import YoloConfig, YoloHead, anchor_shapes, detection_head
from crossray.evaluation.heads.yolo_loss import yolo_loss
from crossray.evaluation.heads.yolo_targets import ScaleTargets, scale_targets
from tests.evaluation.heads.trunks import KINDS, films, resnet50, small_trunk
from tests.evaluation.heads.yolo_oracle import slow_loss, slow_targets

LEGACY = YoloConfig(preset="legacy")
CLEAN = YoloConfig()


def one_box() -> BoxTargets:
    """E5's box: left, top, width, height of one film of 224 pixels."""
    return BoxTargets.of_films([torch.tensor([[80.0, 56.0, 64.0, 96.0]])], [torch.tensor([0])])


def random_boxes(count: int, classes: int, seed: int = 0) -> BoxTargets:
    generator = torch.Generator().manual_seed(seed)
    boxes, labels = [], []
    for film in range(count):
        n = film % 4 * 3  # every fourth film has none
        corner = torch.rand(n, 2, generator=generator) * 150
        boxes.append(torch.cat([corner, 4 + torch.rand(n, 2, generator=generator) * 70], dim=1))
        labels.append(torch.randint(classes, (n,), generator=generator))
    boxes[1][:2] = boxes[1][2].clone()  # several boxes want one anchor of one cell
    return BoxTargets.of_films(boxes, labels)


def of_scale(targets: BoxTargets, scale: int, config: YoloConfig, classes: int = 1) -> ScaleTargets:
    cells = 7 * 2**scale
    return scale_targets(
        targets, anchor_shapes(config)[scale], (cells, cells), (224, 224), classes, config.overlap_margin
    )


@pytest.mark.parametrize(
    ("scale", "anchor", "cell", "offsets", "not_empty"),
    [
        (0, 1, (3, 3), (0.5, 0.25, -0.2748, -0.1077), [0, 1]),
        (1, 2, (6, 7), (0.0, 0.5, 0.6975, 0.4014), []),
        (2, 2, (13, 14), (0.0, 0.0, 1.2786, 2.0450), []),
    ],
)
def test_E05_targets_of_one_box(
    scale: int, anchor: int, cell: tuple[int, int], offsets: tuple[float, ...], not_empty: list[int]
) -> None:
    wanted = of_scale(one_box(), scale, LEGACY)
    assert wanted.assigned.nonzero().tolist() == [[0, anchor, *cell]]
    torch.testing.assert_close(wanted.offsets[0, anchor, :, cell[0], cell[1]], torch.tensor(offsets), atol=5e-5, rtol=0)
    assert (wanted.empty == 0).nonzero().tolist() == [[0, each, *cell] for each in not_empty]


def test_E05_loss_of_logits_that_are_all_zero() -> None:
    logits = [torch.zeros(1, 3, 6, side, side) for side in (7, 14, 28)]
    published = [0.37163, 0.35640, 0.35452]
    total = yolo_loss(logits, one_box(), (224, 224), LEGACY)
    assert total.item() == pytest.approx(1.08256, abs=5e-6)
    for scale, value in enumerate(published):
        anchors = [(width, height) for width, height in anchor_shapes(LEGACY)[scale].tolist()]
        grids = slow_targets(one_box(), anchors, (7 * 2**scale, 7 * 2**scale), 224, 1, plus=1)
        assert slow_loss(logits[scale], grids).item() == pytest.approx(value, abs=5e-6)


@pytest.mark.parametrize("config", [LEGACY, CLEAN, YoloConfig(anchors="mgca", preset="legacy")])
@pytest.mark.parametrize("scale", [0, 1, 2])
def test_targets_are_those_of_a_loop_over_films_and_boxes(config: YoloConfig, scale: int) -> None:
    targets = random_boxes(9, classes=3)
    fast = of_scale(targets, scale, config, classes=3)
    anchors = [(width, height) for width, height in anchor_shapes(config)[scale].tolist()]
    cells = 7 * 2**scale
    slow = slow_targets(targets, anchors, (cells, cells), 224, 3, plus=int(config.overlap_margin))
    assert torch.equal(fast.assigned, slow["m"])
    assert torch.equal(fast.empty, slow["n"])
    assert torch.equal(fast.classes.permute(0, 1, 3, 4, 2), slow["c"])
    for place, name in enumerate("xywh"):
        torch.testing.assert_close(fast.offsets[:, :, place], slow[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_loss_and_gradient_are_those_of_masked_probabilities(classes: int) -> None:
    targets = random_boxes(5, classes, seed=1)
    generator = torch.Generator().manual_seed(2)
    shapes = [(5, 3, 5 + classes, side, side) for side in (7, 14, 28)]
    logits = [torch.randn(shape, generator=generator).requires_grad_(True) for shape in shapes]
    loss = yolo_loss(logits, targets, (224, 224), LEGACY)
    gradients = torch.autograd.grad(loss, logits)
    slow = torch.zeros(())
    for scale, values in enumerate(logits):
        anchors = [(width, height) for width, height in anchor_shapes(LEGACY)[scale].tolist()]
        cells = (values.shape[3], values.shape[4])
        slow = slow + slow_loss(values, slow_targets(targets, anchors, cells, 224, classes, plus=1))
    torch.testing.assert_close(loss, slow)
    for fast, wanted in zip(gradients, torch.autograd.grad(slow, logits), strict=True):
        torch.testing.assert_close(fast, wanted, atol=1e-6, rtol=1e-4)


def test_the_class_term_of_one_class_is_an_option() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(1, 3, 6, side, side, generator=generator) for side in (7, 14, 28)]
    several = yolo_loss(logits, one_box(), (224, 224), YoloConfig(class_term="several"))
    always = yolo_loss(logits, one_box(), (224, 224), YoloConfig(class_term="always"))
    assert always > several


def test_a_batch_without_boxes_has_a_loss_of_its_empty_places_only() -> None:
    nothing = BoxTargets.of_films([torch.zeros(0, 4)] * 2, [torch.zeros(0)] * 2)
    logits = [torch.zeros(2, 3, 6, side, side) for side in (7, 14, 28)]
    expected = 3 * 0.5 * torch.tensor(2.0).log()
    torch.testing.assert_close(yolo_loss(logits, nothing, (224, 224), CLEAN), expected)


def test_anchors_of_the_release_keep_its_typo_and_clean_ones_do_not() -> None:
    assert anchor_shapes(LEGACY)[0, 0].tolist() == pytest.approx([64.64, 48.6])
    assert anchor_shapes(CLEAN)[0, 0].tolist() == pytest.approx([62.64, 48.6])
    assert torch.equal(anchor_shapes(LEGACY)[1:], anchor_shapes(CLEAN)[1:])
    assert anchor_shapes(LEGACY)[2].tolist() == [
        pytest.approx(shape) for shape in ([5.4, 7.02], [8.64, 16.2], [17.82, 12.42])
    ]


def test_mgca_scales_coco_s_anchors_to_the_film() -> None:
    assert anchor_shapes(YoloConfig(anchors="mgca"))[0, 2].tolist() == pytest.approx([373 * 224 / 416, 326 * 224 / 416])
    larger = anchor_shapes(YoloConfig(anchors="mgca"), side=416)
    assert larger[0, 2].tolist() == pytest.approx([373, 326])


def test_a_resnet_50_has_the_published_number_of_weights_and_candidates() -> None:
    trunk = resnet50().freeze()
    with torch.device("meta"):
        head = detection_head(trunk.channels, 1)
        logits = head(trunk(torch.empty(1, 1, 224, 224)))
    assert parameter_count(head) == 21_626_934
    assert [tuple(scale.shape) for scale in logits] == [(1, 3, 6, side, side) for side in (7, 14, 28)]
    assert sum(scale[:, :, 0].numel() for scale in logits) == 3_087


@pytest.mark.parametrize("name", KINDS)
def test_every_trunk_goes_through_the_detection_head(name: str) -> None:
    trunk = small_trunk(name).freeze()
    torch.manual_seed(0)
    head = detection_head(trunk.channels, 2)
    logits: tuple[Tensor, ...] = head(trunk(films()))
    assert [tuple(scale.shape) for scale in logits] == [(2, 3, 7, side, side) for side in (2, 4, 8)]
    boxes = BoxTargets.of_films(
        [torch.tensor([[4.0, 4.0, 20.0, 30.0]]), torch.zeros(0, 4)], [torch.tensor([1]), torch.zeros(0)]
    )
    loss, parameters = yolo_loss(logits, boxes, (64, 64), CLEAN), list(head.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert all(gradient is not None for gradient in gradients)


def test_a_trunk_without_stride_thirty_two_is_refused() -> None:
    channels = small_trunk("test_resnet").channels
    short = type(channels)({stride: c for stride, c in channels.by_stride.items() if stride != 32}, channels.pooled)
    with pytest.raises(ConfigError, match="stride 32"):
        YoloHead(short, 1)


def test_boxes_of_some_films_are_numbered_by_their_place() -> None:
    targets = random_boxes(9, classes=2)
    some = targets[torch.tensor([7, 0, 2])]
    assert len(some) == 3
    for place, film in enumerate((7, 0, 2)):
        assert torch.equal(some.boxes[some.film == place], targets.boxes[targets.film == film])
    again = joined_targets([targets[torch.arange(4)], targets[torch.arange(4, 9)]])
    assert torch.equal(again.film, targets.film)
    assert torch.equal(again.boxes, targets.boxes)


def test_a_box_without_area_is_named_with_its_film() -> None:
    with pytest.raises(DataError, match=r"row 1, field 'boxes': a box has no area .*0.0, 5.0"):
        BoxTargets.of_films(
            [torch.tensor([[0.0, 0.0, 3.0, 3.0]]), torch.tensor([[1.0, 1.0, 0.0, 5.0]])], [torch.tensor([0])] * 2
        )
    with pytest.raises(DataError, match="one class"):
        BoxTargets.of_films([torch.zeros(0, 4)], [torch.tensor([0])])
