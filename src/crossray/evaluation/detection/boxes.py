"""Predicted and true boxes of a whole split as flat arrays, and how far two boxes overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossray.evaluation.metrics import FloatArray

IntArray = NDArray[np.int64]

Convention = Literal["exact", "plus_one"]
"""How large a box is: ``exact`` by its edges as continuous coordinates; ``plus_one`` takes the edges for pixels that
belong to it, so that a side measures one more (YOLOv3's lineage, LoVT and MGCA)."""


@dataclass(frozen=True)
class DetectionSet:
    """Boxes of one class on ``images`` images, negatives included. Several classes are several sets.

    Attributes:
        images: how many there are; an image without any box is among them all the same.
        target_image: ``[G]`` the image of each true box, from 0.
        target_boxes: ``[G, 4]`` as x_min, y_min, x_max, y_max, in pixels of the evaluated film (224 for LoVT).
        image: ``[P]`` the image of each predicted box.
        boxes: ``[P, 4]``.
        confidence: ``[P]``, by which predictions are ranked over all images.

    Raises:
        ValueError: an image that there is none of, a confidence or an edge that is NaN, a box from right to left.
    """

    images: int
    target_image: IntArray
    target_boxes: FloatArray
    image: IntArray
    boxes: FloatArray
    confidence: FloatArray

    def __post_init__(self) -> None:
        for name, image, boxes in (
            ("target", self.target_image, self.target_boxes),
            ("prediction", self.image, self.boxes),
        ):
            if boxes.shape != (len(image), 4):
                raise ValueError(f"{len(image)} {name}s need boxes [{len(image)}, 4], not {boxes.shape}")
            if len(image) and (image.min() < 0 or image.max() >= self.images):
                raise ValueError(f"a {name} names an image outside 0..{self.images - 1}")
            # Written so that NaN fails it too.
            if not (boxes[:, 2:] >= boxes[:, :2]).all():
                raise ValueError(f"a {name}'s box must be x_min, y_min, x_max, y_max with the smaller ones first")
        if self.confidence.shape != self.image.shape or np.isnan(self.confidence).any():
            raise ValueError("every prediction needs a confidence that is a number")

    @property
    def targets_per_image(self) -> FloatArray:
        """``[images]`` how many true boxes each has."""
        return np.bincount(self.target_image, minlength=self.images).astype(np.float64)

    def padded_targets(self) -> tuple[FloatArray, NDArray[np.bool_]]:
        """True boxes by image ``[images, G, 4]`` in their order, and which of them are real ``[images, G]`` (G ≥ 1)."""
        count = self.targets_per_image.astype(np.int64)
        order = np.argsort(self.target_image, kind="stable")
        place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
        width = max(1, int(count.max(initial=0)))
        boxes = np.zeros((self.images, width, 4))
        boxes[self.target_image[order], place] = self.target_boxes[order]
        return boxes, np.arange(width) < count[:, None]


def iou(first: FloatArray, second: FloatArray, convention: Convention = "exact") -> FloatArray:
    """Intersection over union of boxes ``[..., 4]``, broadcast against each other; 0 where both are empty."""
    more = 1.0 if convention == "plus_one" else 0.0
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    both = np.prod(np.maximum(high - low + more, 0.0), axis=-1)
    own = np.prod(first[..., 2:] - first[..., :2] + more, axis=-1)
    other = np.prod(second[..., 2:] - second[..., :2] + more, axis=-1)
    union = own + other - both
    result: FloatArray = np.zeros(union.shape)
    np.divide(both, union, out=result, where=union > 0)
    return result
