"""The slow way to match boxes and to walk through them: loops that read like the definition, and random boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crossray.evaluation.detection.average_precision import RECALL_LEVELS
from crossray.evaluation.detection.boxes import DetectionSet, IntArray
from crossray.evaluation.metrics import FloatArray

LEVELS = (0.125, 0.25, 0.5, 1, 2, 4, 8)


def detections(
    images: int,
    targets: Sequence[tuple[int, tuple[float, float, float, float]]],
    predictions: Sequence[tuple[int, float, tuple[float, float, float, float]]],
) -> DetectionSet:
    """A set from (image, box) and (image, confidence, box)."""
    return DetectionSet(
        images=images,
        target_image=np.array([image for image, _ in targets], dtype=np.int64),
        target_boxes=np.array([box for _, box in targets], dtype=np.float64).reshape(-1, 4),
        image=np.array([image for image, _, _ in predictions], dtype=np.int64),
        boxes=np.array([box for _, _, box in predictions], dtype=np.float64).reshape(-1, 4),
        confidence=np.array([confidence for _, confidence, _ in predictions], dtype=np.float64),
    )


def random_set(seed: int, images: int = 12, *, ties: bool = False) -> DetectionSet:
    """Images with none to three targets, each looked for near its place once or twice, and false alarms anywhere."""
    generator = np.random.default_rng(seed)
    targets, predictions = [], []
    for image in range(images):
        for _ in range(generator.integers(0, 4)):
            corner, size = generator.uniform(0, 150, 2), generator.uniform(15, 70, 2)
            box = np.concatenate([corner, corner + size])
            targets.append((image, tuple(box)))
            for _ in range(generator.integers(0, 3)):
                shaken = np.sort((box + generator.normal(0, 5, 4)).reshape(2, 2), axis=0).ravel()
                predictions.append((image, generator.random(), tuple(shaken)))
        for _ in range(generator.integers(0, 3)):
            corner = generator.uniform(0, 180, 2)
            predictions.append((image, generator.random(), (*corner, *(corner + generator.uniform(10, 40, 2)))))
    if ties:
        predictions = [(image, round(confidence, 1), box) for image, confidence, box in predictions]
    order = generator.permutation(len(predictions))
    return detections(images, targets, [predictions[k] for k in order])


def written_out(found: DetectionSet, copies: IntArray) -> DetectionSet:
    """The set of images in which image i stands ``copies[i]`` times, each copy an image of its own."""
    targets, predictions, images = [], [], 0
    for image, times in enumerate(copies.tolist()):
        for _ in range(times):
            targets += [(images, tuple(box)) for box in found.target_boxes[found.target_image == image]]
            own = found.image == image
            predictions += [
                (images, float(c), tuple(box)) for c, box in zip(found.confidence[own], found.boxes[own], strict=True)
            ]
            images += 1
    return detections(images, targets, predictions)


def iou_by_hand(a: FloatArray, b: FloatArray, more: float) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + more
    height = min(a[3], b[3]) - max(a[1], b[1]) + more
    both = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0] + more) * (box[3] - box[1] + more) for box in (a, b)]
    return float(both / (sum(areas) - both))


def hits_by_hand(found: DetectionSet, threshold: float, more: float) -> list[bool]:
    """One list of predictions of all images by confidence; each takes the free target that it overlaps most."""
    hits = [False] * len(found.image)
    free = list(range(len(found.target_image)))
    for k in np.argsort(-found.confidence, kind="stable").tolist():
        own = [g for g in free if found.target_image[g] == found.image[k]]
        if own:
            best = max(own, key=lambda g: iou_by_hand(found.boxes[k], found.target_boxes[g], more))
            if iou_by_hand(found.boxes[k], found.target_boxes[best], more) > threshold:
                hits[k] = True
                free.remove(best)
    return hits


def average_precision_by_hand(found: DetectionSet, threshold: float, more: float) -> float:
    hits = np.array(hits_by_hand(found, threshold, more), dtype=bool)
    points = []
    for confidence in sorted(set(found.confidence.tolist()), reverse=True):
        called = found.confidence >= confidence
        points.append((hits[called].sum() / len(found.target_image), hits[called].mean()))
    best = [max((precision for recall, precision in points if recall >= level), default=0.0) for level in RECALL_LEVELS]
    return float(np.mean(best))


def froc_by_hand(found: DetectionSet, *, after_false_only: bool = False) -> float:
    """The released walk; ``after_false_only`` is what it might be taken for."""
    seen: set[int] = set()
    recorded: list[float] = []
    false = 0
    for k in np.argsort(-found.confidence, kind="stable").tolist():
        x, y = (found.boxes[k, :2] + found.boxes[k, 2:]) / 2
        boxes = found.target_boxes
        inside = (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])
        mine = np.flatnonzero(inside & (found.target_image == found.image[k])).tolist()
        seen |= set(mine)
        false += not mine
        tested = not mine or not after_false_only
        if tested and len(recorded) < len(LEVELS) and false / found.images >= LEVELS[len(recorded)]:
            recorded.append(len(seen) / len(boxes))
    last = recorded[-1] if recorded else len(seen) / len(found.target_boxes)
    return float(np.mean(recorded + [last] * (len(LEVELS) - len(recorded))))
