"""Overlap, matching and average precision: numbers of the spec, loops, the multiset of a draw, and COCO's own code."""

from __future__ import annotations

import contextlib
import io
from typing import get_args

import numpy as np
import pytest

from crossray.evaluation.detection.average_precision import (
    IOU_THRESHOLDS,
    RECALL_LEVELS,
    Scope,
    average_precisions,
    mean_average_precision,
)
from crossray.evaluation.detection.boxes import Convention, DetectionSet, iou
from crossray.evaluation.detection.matching import matched
from crossray.evaluation.intervals import bootstrap_weights
from tests.evaluation.detection_oracles import (
    average_precision_by_hand,
    detections,
    hits_by_hand,
    iou_by_hand,
    random_set,
    written_out,
)

SIZES: list[tuple[Convention, float]] = [("exact", 0.0), ("plus_one", 1.0)]


def test_E04_overlap_of_two_boxes_by_pixels_and_by_edges() -> None:
    one, other = np.array([0.0, 0, 10, 10]), np.array([5.0, 5, 15, 15])
    assert iou(one, other, "plus_one").item() == pytest.approx(36 / 206, abs=1e-15)
    assert iou(one, other, "plus_one").item() == pytest.approx(0.174757, abs=1e-6)
    assert iou(one, other, "exact").item() == pytest.approx(25 / 175, abs=1e-15)


def test_boxes_apart_and_boxes_without_area_do_not_overlap() -> None:
    assert iou(np.array([0.0, 0, 1, 1]), np.array([5.0, 5, 6, 6])).item() == 0
    assert iou(np.array([2.0, 2, 2, 2]), np.array([2.0, 2, 2, 2])).item() == 0


@pytest.mark.parametrize(("convention", "more"), SIZES)
def test_overlaps_broadcast_to_the_loop_over_pairs(convention: Convention, more: float) -> None:
    found = random_set(0)
    table = iou(found.boxes[:, None], found.target_boxes[None], convention)
    expected = [[iou_by_hand(a, b, more) for b in found.target_boxes] for a in found.boxes]
    np.testing.assert_allclose(table, expected, atol=1e-12)


@pytest.mark.parametrize(("convention", "more"), SIZES)
@pytest.mark.parametrize("seed", range(6))
def test_matching_side_by_side_equals_one_walk_over_all_images(seed: int, convention: Convention, more: float) -> None:
    found = random_set(seed, ties=seed % 2 == 1)
    hits = matched(found, IOU_THRESHOLDS, convention)
    for row, threshold in zip(hits, IOU_THRESHOLDS, strict=True):
        np.testing.assert_array_equal(row, hits_by_hand(found, threshold, more))
    assert 0 < hits[0].sum() < len(found.image)


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_equals_the_loop_over_levels(seed: int) -> None:
    found = random_set(seed, ties=seed % 2 == 1)
    each = average_precisions(found)[0]
    expected = [average_precision_by_hand(found, threshold, 1.0) for threshold in IOU_THRESHOLDS]
    np.testing.assert_allclose(each, expected, atol=1e-12)
    assert mean_average_precision(found).item() == pytest.approx(np.mean(expected), abs=1e-12)


def test_there_are_101_levels_with_the_rounding_of_their_sum() -> None:
    assert len(RECALL_LEVELS) == 101
    assert RECALL_LEVELS[-1] == 1.0
    assert (np.arange(101) / 100 != RECALL_LEVELS).any()


def _perfect() -> DetectionSet:
    found = random_set(3)
    confidence = np.random.default_rng(0).uniform(0.5, 1, len(found.target_image))
    return DetectionSet(
        found.images, found.target_image, found.target_boxes, found.target_image, found.target_boxes, confidence
    )


def test_E07_predictions_that_are_the_targets_score_1_and_none_score_0() -> None:
    perfect = _perfect()
    assert mean_average_precision(perfect).item() == pytest.approx(1.0, abs=1e-15)
    nothing = np.zeros(0, dtype=np.int64)
    empty = DetectionSet(
        perfect.images, perfect.target_image, perfect.target_boxes, nothing, np.zeros((0, 4)), np.zeros(0)
    )
    assert mean_average_precision(empty).item() == 0


def test_E07_duplicates_below_all_originals_leave_it_at_1() -> None:
    perfect = _perfect()
    doubled = DetectionSet(
        perfect.images,
        perfect.target_image,
        perfect.target_boxes,
        np.tile(perfect.image, 2),
        np.tile(perfect.boxes, (2, 1)),
        np.concatenate([perfect.confidence, perfect.confidence - 0.5]),
    )
    assert mean_average_precision(doubled).item() == pytest.approx(1.0, abs=1e-15)


def test_a_false_alarm_on_a_negative_costs_precision_and_in_the_legacy_scope_nothing() -> None:
    box = (10.0, 10.0, 50.0, 50.0)
    with_alarm = detections(3, [(0, box), (2, box)], [(1, 0.9, box), (0, 0.8, box)])
    assert mean_average_precision(with_alarm).item() < 0.5
    assert mean_average_precision(with_alarm, scope="mgca_legacy").item() == pytest.approx(1.0)
    # Image 2, missed altogether, is dropped there too: its target is not asked for.
    whole = average_precisions(with_alarm, (0.5,)).item()
    assert whole == pytest.approx(0.5 * (RECALL_LEVELS <= 0.5).mean(), abs=1e-12)


def test_the_legacy_scope_equals_dropping_the_images_by_hand() -> None:
    found = random_set(4)
    both = [image for image in range(found.images) if image in found.image and image in found.target_image]
    assert 0 < len(both) < found.images
    kept = written_out(found, np.isin(np.arange(found.images), both).astype(np.int64))
    np.testing.assert_allclose(average_precisions(found, scope="mgca_legacy"), average_precisions(kept), atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("scope", get_args(Scope))
def test_a_draw_of_patients_equals_the_images_written_out_as_often(scope: Scope, ties: bool) -> None:
    found = random_set(5, ties=ties)
    weights = bootstrap_weights([f"p{image // 2}" for image in range(found.images)], draws=15, seed=0)
    draws = average_precisions(found, scope=scope, weights=weights)
    for draw, copies in zip(draws, weights, strict=True):
        drawn = written_out(found, copies.astype(np.int64))
        np.testing.assert_allclose(draw, average_precisions(drawn, scope=scope)[0], atol=1e-12)


def test_pieces_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = random_set(5)
    weights = bootstrap_weights([None] * found.images, draws=11, seed=0)
    whole = average_precisions(found, weights=weights)
    monkeypatch.setattr("crossray.evaluation.detection.average_precision._ELEMENTS", 3 * len(found.image))
    np.testing.assert_array_equal(average_precisions(found, weights=weights), whole)


def test_an_image_without_boxes_changes_nothing() -> None:
    found = random_set(6)
    padded = DetectionSet(
        found.images + 3, found.target_image, found.target_boxes, found.image, found.boxes, found.confidence
    )
    np.testing.assert_array_equal(average_precisions(padded), average_precisions(found))


def test_without_a_target_it_is_undefined() -> None:
    box = (0.0, 0.0, 5.0, 5.0)
    assert np.isnan(mean_average_precision(detections(2, [], [(0, 0.5, box)]))).all()
    found = detections(2, [(0, box)], [(0, 0.5, box), (1, 0.6, box)])
    assert np.isnan(mean_average_precision(found, weights=np.array([[0.0, 2.0]]))).all()
    assert np.isnan(mean_average_precision(detections(1, [], []))).all()


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_cocos_code_where_the_definitions_coincide(seed: int) -> None:
    """Edges as coordinates, distinct confidences, no overlap equal to a threshold, the same recalls: then they do."""
    found = random_set(seed, images=30)
    thresholds = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    ours = average_precisions(found, thresholds, convention="exact")[0]
    np.testing.assert_allclose(ours, _cocos(found, thresholds), atol=1e-9)


def _cocos(found: DetectionSet, thresholds: tuple[float, ...]) -> list[float]:
    from faster_coco_eval import COCO, COCOeval_faster

    def entry(image: int, box: object, **more: float) -> dict[str, object]:
        x0, y0, x1, y1 = np.asarray(box).tolist()
        sides = [x0, y0, x1 - x0, y1 - y0]
        return {"image_id": image, "category_id": 1, "bbox": sides, "area": sides[2] * sides[3], "iscrowd": 0, **more}

    targets = zip(found.target_image.tolist(), found.target_boxes, strict=True)
    annotations = [entry(image, box, id=number + 1) for number, (image, box) in enumerate(targets)]
    images = [{"id": image, "width": 400, "height": 400} for image in range(found.images)]
    predictions = zip(found.image.tolist(), found.boxes, found.confidence.tolist(), strict=True)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "opacity"}]})
        read = truth.loadRes([entry(image, box, score=score) for image, box, score in predictions])
        judge = COCOeval_faster(truth, read, "bbox")
        judge.params.iouThrs, judge.params.recThrs = np.array(thresholds), RECALL_LEVELS
        judge.params.maxDets = [1, 10, 1000]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"]
    return [float(precision[t, :, 0, 0, -1].mean()) for t in range(len(thresholds))]


def test_bad_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller ones first"):
        detections(1, [(0, (5.0, 0.0, 1.0, 2.0))], [])
    with pytest.raises(ValueError, match="smaller ones first"):
        detections(1, [], [(0, 0.5, (float("nan"), 0.0, 1.0, 2.0))])
    with pytest.raises(ValueError, match=r"outside 0\.\.0"):
        detections(1, [(1, (0.0, 0.0, 1.0, 2.0))], [])
    with pytest.raises(ValueError, match="confidence"):
        detections(1, [], [(0, float("nan"), (0.0, 0.0, 1.0, 2.0))])
