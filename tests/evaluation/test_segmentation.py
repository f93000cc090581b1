"""Counts against a loop over pixels, scores against their definitions on images written out, batches, draws, toys."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from crossray.errors import DataError
from crossray.evaluation.intervals import bootstrap_weights
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.segmentation.counts import CountsAccumulator, MaskCounts, mask_counts
from crossray.evaluation.segmentation.scores import (
    SCORES,
    class_mean_dice,
    dataset_dice,
    empty_is_one_dice,
    positive_dice,
    segmentation_scores,
    two_class_dice,
)


def _films(images: int = 13, classes: int = 2, seed: int = 0) -> tuple[FloatArray, NDArray[np.uint8]]:
    """Probabilities and masks ``[n, K, 6, 5]``: some masks and predictions empty, some pixels ignored."""
    generator = np.random.default_rng(seed)
    shape = (images, classes, 6, 5)
    probabilities = generator.random(shape)
    probabilities[1::4] = 0.1
    masks = np.where(generator.random(shape) < 0.4, 255, 0).astype(np.uint8)
    masks[::3] = 0
    masks[generator.random(shape) < 0.1] = 127
    return probabilities, masks


def _of(counts: MaskCounts, rows: NDArray[np.intp]) -> MaskCounts:
    return MaskCounts(
        counts.true_positive[rows],
        counts.false_positive[rows],
        counts.false_negative[rows],
        counts.true_negative[rows],
    )


def _counts(tp: int, fp: int, fn: int, tn: int) -> MaskCounts:
    return MaskCounts(*(np.array([[value]], dtype=np.int64) for value in (tp, fp, fn, tn)))


def _image_dice_by_hand(probabilities: FloatArray, masks: NDArray[np.uint8]) -> float | None:
    """Dice of one mask over its known pixels; None where nothing is positive and nothing called."""
    true_positive, size = 0, 0
    for probability, mask in zip(probabilities.ravel(), masks.ravel(), strict=True):
        if mask == 127:
            continue
        true_positive += int(probability >= 0.5 and mask == 255)
        size += int(probability >= 0.5) + int(mask == 255)
    return 2 * true_positive / size if size else None


def test_dice_over_the_split_is_scikit_learns_f1_of_its_known_pixels() -> None:
    probabilities, masks = _films()
    found = dataset_dice(mask_counts(probabilities, masks))[0]
    both = two_class_dice(mask_counts(probabilities, masks))[0]
    for k in range(masks.shape[1]):
        known = masks[:, k] != 127
        truth, called = masks[:, k][known] == 255, probabilities[:, k][known] >= 0.5
        assert found[k] == pytest.approx(f1_score(truth, called), abs=1e-12)
        assert both[k] == pytest.approx(f1_score(truth, called, average="macro"), abs=1e-12)


def test_counts_equal_a_loop_over_pixels() -> None:
    probabilities, masks = _films(images=4)
    found = mask_counts(probabilities, masks)
    expected = np.zeros((4, *probabilities.shape[:2]), dtype=np.int64)
    for (n, k, y, x), probability in np.ndenumerate(probabilities):
        if masks[n, k, y, x] != 127:
            expected[2 * int(probability < 0.5) + int(masks[n, k, y, x] == 0), n, k] += 1
    for k, part in enumerate((found.true_positive, found.false_positive, found.false_negative, found.true_negative)):
        np.testing.assert_array_equal(part, expected[k])


def test_a_probability_of_exactly_one_half_is_called() -> None:
    assert mask_counts(np.full((1, 1, 1, 1), 0.5), np.ones((1, 1, 1, 1), dtype=np.uint8)).true_positive.item() == 1


def test_ignored_pixels_change_nothing_whatever_is_called_there() -> None:
    probabilities, masks = _films()
    turned = np.where(masks == 127, 1 - probabilities, probabilities)
    before, after = mask_counts(probabilities, masks), mask_counts(turned, masks)
    np.testing.assert_array_equal(before.true_positive, after.true_positive)
    np.testing.assert_array_equal(before.false_positive, after.false_positive)
    np.testing.assert_array_equal(before.positive + before.negative, (masks != 127).sum(axis=(2, 3)))


@pytest.mark.parametrize("batch", [1, 4, 13])
def test_E03_counts_do_not_depend_on_the_batch_size(batch: int) -> None:
    probabilities, masks = _films()
    accumulator = CountsAccumulator()
    for start in range(0, 13, batch):
        accumulator.add(probabilities[start : start + batch], masks[start : start + batch])
    whole, summed = mask_counts(probabilities, masks), accumulator.counts()
    for score in SCORES.values():
        np.testing.assert_array_equal(score(summed, None), score(whole, None))


def test_E03_a_prediction_of_nothing_has_dice_0() -> None:
    _, masks = _films()
    counts = mask_counts(np.zeros(masks.shape), masks)
    np.testing.assert_array_equal(dataset_dice(counts), 0.0)
    np.testing.assert_array_equal(class_mean_dice(counts), 0.0)


def test_E02_calling_every_pixel_of_masks_as_rare_as_those_of_rsna_gives_its_dice() -> None:
    found = dataset_dice(_counts(273, 0, 0, 9727).all_positive()).item()
    assert 0.0531 <= found <= 0.0532


def test_check_7_foreground_one_half_and_background_99_percent_make_a_two_class_dice_of_0745() -> None:
    counts = _counts(tp=1, fp=1, fn=1, tn=99)
    assert dataset_dice(counts).item() == 0.50
    assert two_class_dice(counts).item() == pytest.approx(0.745, abs=1e-12)


def test_check_7_by_the_rule_of_images_the_all_empty_baseline_is_the_share_of_negatives() -> None:
    _, masks = _films()
    counts = mask_counts(np.ones(masks.shape), masks)
    negative = (masks != 255).all(axis=(2, 3)).mean(axis=0)
    assert 0 < negative[0] < 1
    np.testing.assert_allclose(empty_is_one_dice(counts.all_empty())[0], negative, atol=1e-12)
    np.testing.assert_allclose(segmentation_scores(counts)["Dice, empty = 1"]["all-empty"][0], negative, atol=1e-12)


def test_per_image_scores_equal_a_loop_over_images() -> None:
    probabilities, masks = _films()
    counts = mask_counts(probabilities, masks)
    for k in range(2):
        own = [_image_dice_by_hand(p[k], m[k]) for p, m in zip(probabilities, masks, strict=True)]
        positive = [dice for dice, mask in zip(own, masks[:, k], strict=True) if (mask == 255).any()]
        assert positive_dice(counts)[0, k] == pytest.approx(np.mean([dice or 0.0 for dice in positive]), abs=1e-12)
        every = np.mean([1.0 if dice is None else dice for dice in own])
        assert empty_is_one_dice(counts)[0, k] == pytest.approx(every, abs=1e-12)


def test_the_dice_of_the_whole_split_is_that_of_one_long_image() -> None:
    probabilities, masks = _films()
    for k in range(2):
        expected = _image_dice_by_hand(probabilities[:, k], masks[:, k])
        assert dataset_dice(mask_counts(probabilities, masks))[0, k] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [*SCORES, "mean over classes"])
def test_a_draw_of_patients_equals_the_images_written_out_as_often(name: str) -> None:
    score = SCORES.get(name, class_mean_dice)
    counts = mask_counts(*_films())
    weights = bootstrap_weights([f"p{row // 2}" for row in range(13)], draws=20, seed=0)
    found = score(counts, weights)
    for draw, copies in enumerate(weights):
        written_out = _of(counts, np.repeat(np.arange(13), copies.astype(np.int64)))
        np.testing.assert_allclose(found[draw], score(written_out, None)[0], atol=1e-12)


def test_a_class_that_is_never_predicted_scores_0_in_the_mean_of_classes() -> None:
    probabilities, masks = _films(classes=8)
    probabilities[:, 5] = 0.0
    counts = mask_counts(probabilities, masks)
    of_class = dataset_dice(counts)[0]
    assert of_class[5] == 0
    assert class_mean_dice(counts)[0] == pytest.approx(of_class.sum() / 8)
    # Without a positive pixel either, its own Dice is undefined; it weighs on the mean all the same.
    masks[:, 5] = 0
    absent = mask_counts(probabilities, masks)
    assert np.isnan(dataset_dice(absent)[0, 5])
    assert class_mean_dice(absent)[0] == pytest.approx(of_class.sum() / 8)


def test_an_image_that_is_ignored_throughout_is_in_no_mean() -> None:
    probabilities, masks = _films()
    more = np.concatenate([masks, np.full((1, 2, 6, 5), 127, dtype=np.uint8)])
    padded = mask_counts(np.concatenate([probabilities, np.ones((1, 2, 6, 5))]), more)
    for score in SCORES.values():
        np.testing.assert_allclose(score(padded, None), score(mask_counts(probabilities, masks), None), atol=1e-12)


def test_smoothed_masks_nan_and_other_shapes_are_refused() -> None:
    probabilities, masks = _films(images=1)
    with pytest.raises(DataError, match="holds the value 3"):
        mask_counts(probabilities, np.full(masks.shape, 3, dtype=np.uint8))
    with pytest.raises(ValueError, match="NaN"):
        mask_counts(np.full(masks.shape, np.nan), masks)
    with pytest.raises(ValueError, match="must both be"):
        mask_counts(probabilities[0], masks[0])
    with pytest.raises(ValueError, match="no batch"):
        CountsAccumulator().counts()
