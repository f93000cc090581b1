from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from crossray.evaluation.heads.boxes import Detections, joined_detections
from crossray.evaluation.heads.yolo import YoloConfig, anchor_shapes
from crossray.evaluation.heads.yolo_decode import Candidates, decode, suppress


def random_candidates(seed: int = 0, films: int = 4, count: int = 60, classes: int = 3) -> Candidates:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(films, count, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 20 + 30 * torch.rand(films, count, 2, generator=generator)], dim=2)
    scores = torch.rand(films, count, generator=generator)
    return Candidates(boxes, scores, torch.rand(films, count, classes, generator=generator))


def overlap(one: list[float], other: list[float], plus: float) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0]) + plus
    height = min(one[3], other[3]) - max(one[1], other[1]) + plus
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + plus) * (box[3] - box[1] + plus) for box in (one, other)]
    return common / (sum(areas) - common)


def slow_suppression(candidates: Candidates, config: YoloConfig) -> set[tuple[int, int]]:
    kept = set()
    for film, scores in enumerate(candidates.scores):
        order = sorted((i for i in range(len(scores)) if scores[i] >= config.confidence), key=lambda i: -scores[i])
        labels = candidates.classes[film].argmax(dim=1).tolist()
        boxes = candidates.boxes[film].tolist()
        chosen: list[int] = []
        for i in order:
            rivals = [j for j in chosen if labels[j] == labels[i]]
            if all(overlap(boxes[i], boxes[j], config.overlap_margin) < config.suppression for j in rivals):
                chosen.append(i)
        kept |= {(film, i) for i in chosen}
    return kept


def places(found: Detections, candidates: Candidates) -> set[tuple[int, int]]:
    return {
        (film, int((candidates.boxes[film] == box).all(dim=1).nonzero()))
        for film, box in zip(found.film.tolist(), found.boxes, strict=True)
    }


@pytest.mark.parametrize("preset", ["clean", "legacy"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_suppression_is_greedy_within_film_and_class(preset: str, seed: int) -> None:
    config = YoloConfig.model_validate({"preset": preset})
    candidates = random_candidates(seed)
    found = suppress(candidates, config)
    assert places(found, candidates) == slow_suppression(candidates, config)
    assert found.film.tolist() == sorted(found.film.tolist())


def test_an_overlap_that_equals_the_threshold_is_suppressed() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 2.0]]])
    candidates = Candidates(boxes, torch.tensor([[0.9, 0.8]]), torch.ones(1, 2, 1))
    assert len(suppress(candidates, YoloConfig(suppression=0.5)).scores) == 1
    assert len(suppress(candidates, YoloConfig(suppression=0.51)).scores) == 2


def test_a_confidence_that_equals_the_threshold_is_kept() -> None:
    candidates = Candidates(torch.tensor([[[0.0, 0.0, 4.0, 4.0]]]), torch.tensor([[0.25]]), torch.ones(1, 1, 1))
    assert len(suppress(candidates, YoloConfig(confidence=0.25)).scores) == 1
    assert len(suppress(candidates, YoloConfig(confidence=0.26)).scores) == 0


def test_the_other_films_of_a_batch_do_not_change_what_is_found_in_one() -> None:
    candidates = random_candidates(5)
    together = suppress(candidates, YoloConfig())
    for film in range(4):
        row = slice(film, film + 1)
        alone = suppress(
            Candidates(candidates.boxes[row], candidates.scores[row], candidates.classes[row]), YoloConfig()
        )
        assert torch.equal(together.boxes[together.film == film], alone.boxes)


def test_decoding_puts_boxes_where_the_equations_say() -> None:
    config = YoloConfig()
    logits = [torch.zeros(1, 3, 6, side, side) for side in (7, 14, 28)]
    raw = torch.tensor([0.3, -1.2, 0.4, -0.5, 2.0, 1.0])
    logits[1][0, 2, :, 5, 9] = raw
    candidates = decode(logits, (224, 224), config)
    assert candidates.boxes.shape == (1, 3_087, 4)
    place = 3 * 49 + (2 * 14 + 5) * 14 + 9
    width, height = (anchor_shapes(config)[1, 2] * raw[2:4].exp()).tolist()
    x, y = (_sigmoid(0.3) + 9) * 16, (_sigmoid(-1.2) + 5) * 16
    expected = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    assert candidates.boxes[0, place].tolist() == pytest.approx(expected, rel=1e-5)
    assert candidates.scores[0, place].item() == pytest.approx(_sigmoid(2.0))
    assert candidates.classes[0, place].item() == pytest.approx(_sigmoid(1.0))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_batches_of_detections_are_joined_with_films_numbered_on() -> None:
    first, second = (suppress(random_candidates(seed), YoloConfig()) for seed in (0, 1))
    joined = joined_detections([first, second])
    assert len(joined) == 8
    assert torch.equal(joined.boxes[joined.film >= 4], second.boxes)
    assert joined_detections([]).boxes.shape == (0, 4)


def test_nothing_found_is_no_detection_of_every_film() -> None:
    quiet: list[Tensor] = [torch.full((2, 3, 6, side, side), -9.0) for side in (7, 14, 28)]
    found = suppress(decode(quiet, (224, 224), YoloConfig()), YoloConfig())
    assert (len(found), len(found.boxes)) == (2, 0)
