"""Lungs for the twins of sets with lung boxes or masks: two ellipses where a frontal film has lungs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crossray.data.study import Box
from crossray.data.twins.files import Cell, Pixels

IGNORED = 127
# Left edge, top, right edge and bottom as shares of the film. The patient's right is on the left of the picture.
_LUNGS = {"right_lung": (0.10, 0.12, 0.45, 0.85), "left_lung": (0.55, 0.12, 0.90, 0.80)}


def lung_boxes(pixels: Pixels) -> list[Box]:
    """The boxes ``right_lung`` and ``left_lung`` of a film ``[height, width]``, in pixels with two decimals."""
    height, width = pixels.shape
    sizes = (width, height, width, height)
    return [
        Box(name, *(round(share * size, 2) for share, size in zip(shares, sizes, strict=True)))
        for name, shares in _LUNGS.items()
    ]


def lung_mask(pixels: Pixels) -> Pixels:
    """A mask of both lungs, ``[height, width]`` uint8: 255 lung, 127 a strip to ignore across them, 0 elsewhere."""
    height, width = pixels.shape
    y, x = np.mgrid[:height, :width] + 0.5
    mask = np.zeros(pixels.shape, dtype=np.uint8)
    for box in lung_boxes(pixels):
        radius_x, radius_y = (box.x_max - box.x_min) / 2, (box.y_max - box.y_min) / 2
        inside = ((x - box.x_min) / radius_x - 1) ** 2 + ((y - box.y_min) / radius_y - 1) ** 2 <= 1
        mask[inside] = 255
    strip = mask[height // 2 : height // 2 + 2]
    strip[strip > 0] = IGNORED
    return mask


def box_rows(image: str, boxes: Sequence[Box], source: str) -> list[list[Cell]]:
    """Rows of the table of boxes."""
    return [[image, box.label, box.x_min, box.y_min, box.x_max, box.y_max, source] for box in boxes]
