from __future__ import annotations

import numpy as np
import pytest
import torch

from crossray.evaluation.heads.boxes import BoxTargets, Detections
from crossray.evaluation.localized.scorers import AurocScorer, BoxScorer, DiceScorer, detection_sets
from crossray.evaluation.segmentation.counts import mask_counts
from crossray.evaluation.segmentation.scores import class_mean_dice


def test_dice_is_the_suite_s_class_mean_whatever_the_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(7, 3, 6, 5, generator=generator)
    values = torch.tensor([0, 0, 1, 255, 127], dtype=torch.uint8)
    masks = values[torch.randint(5, (7, 3, 6, 5), generator=generator)]
    expected = class_mean_dice(mask_counts(probabilities.numpy(), masks.numpy()))[0]
    for size in (1, 3, 7):
        score = DiceScorer()
        for p, q in zip(torch.split(probabilities, size), torch.split(masks, size), strict=True):
            score.add(p, q)
        assert score.value() == pytest.approx(expected)


def test_E03_predicting_nothing_scores_zero() -> None:
    score = DiceScorer()
    score.add(torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4, dtype=torch.uint8))
    assert score.value() == 0


def test_boxes_of_every_class_reach_the_metric_as_corners() -> None:
    truth = BoxTargets.of_films(
        [torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.zeros(0, 4), torch.tensor([[5.0, 5.0, 2.0, 2.0]])],
        [torch.tensor([2]), torch.zeros(0), torch.tensor([0])],
    )
    found = Detections(
        torch.tensor([[1.0, 2.0, 4.0, 6.0], [0.0, 0.0, 1.0, 1.0]]),
        torch.tensor([0.9, 0.8]),
        torch.tensor([2, 1]),
        torch.tensor([0, 1]),
        3,
    )
    first, second = detection_sets(found, truth)
    assert (first.images, len(first.boxes), first.target_image.tolist()) == (3, 0, [2])
    np.testing.assert_array_equal(second.target_boxes, [[1, 2, 4, 6]])
    np.testing.assert_array_equal(second.boxes, [[1, 2, 4, 6]])
    score = BoxScorer(lambda each: float(len(each.boxes)))
    score.add(found, truth)
    assert score.value() == 0.5


def test_auroc_leaves_unknown_labels_out() -> None:
    score = AurocScorer()
    logits = torch.tensor([[0.1], [0.9], [0.5], [0.7]])
    labels = torch.tensor([[0.0], [1.0], [torch.nan], [1.0]])
    for p, q in zip(torch.split(logits, 2), torch.split(labels, 2), strict=True):
        score.add(p, q)
    assert score.value() == 1.0
