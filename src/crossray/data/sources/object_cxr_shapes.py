"""Annotations of Object-CXR: objects as rectangles, ellipses and polygons; their boxes and masks.

Format: localized_evaluation spec, §5.4: ``type x1 y1 x2 y2 [... xn yn]``, objects joined by ``;``; type 0 is a
rectangle and 1 an ellipse, by two corners of the box around it, 2 a polygon. Defects of LoVT's release: §7, items 1 and
2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossray.data.sources.masks import BoxMask, MaskSize, Point, PolygonMask, UnionMask
from crossray.data.study import Box, MaskSource

Kind = Literal["rectangle", "ellipse", "polygon"]

LABEL = "Foreign Object"
_KINDS: dict[str, Kind] = {"0": "rectangle", "1": "ellipse", "2": "polygon"}


@dataclass(frozen=True)
class ForeignObject:
    """An object: its kind, and two corners of the box around it (upper left, lower right) or a ring of corners."""

    kind: Kind
    points: tuple[Point, ...]

    def box(self) -> Box:
        """The box around the object, in pixels of the film."""
        xs, ys = [x for x, _ in self.points], [y for _, y in self.points]
        return Box(LABEL, min(xs), min(ys), max(xs), max(ys))


@dataclass(frozen=True)
class EllipseMask:
    """Filled ellipses, each by the box around it: a pixel is inside if its centre is."""

    boxes: tuple[Box, ...]
    size: MaskSize

    def read(self) -> NDArray[np.uint8]:
        """The mask, ``[height, width]`` uint8; what leaves the film is cut off."""
        height, width = self.size.read()
        mask = np.zeros((height, width), dtype=np.uint8)
        for box in self.boxes:
            rows = np.arange(max(0, math.floor(box.y_min)), min(height, math.ceil(box.y_max)))
            columns = np.arange(max(0, math.floor(box.x_min)), min(width, math.ceil(box.x_max)))
            down = (2 * (rows + 0.5) - box.y_min - box.y_max) / (box.y_max - box.y_min)
            across = (2 * (columns + 0.5) - box.x_min - box.x_max) / (box.x_max - box.x_min)
            inside = np.square(down)[:, None] + np.square(across)[None, :] <= 1.0
            if inside.size:
                mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][inside] = 255
        return mask


def parse_annotation(written: str) -> tuple[ForeignObject, ...]:
    """The objects of a cell; an empty cell has none.

    Raises:
        ValueError: an object that is none, in words.
    """
    return tuple(_object(part.split()) for part in written.split(";") if part.strip())


def object_boxes(objects: Sequence[ForeignObject], *, legacy: bool) -> tuple[Box, ...]:
    """The boxes around objects; ``legacy`` exchanges width and height, as in LoVT's released lists (§7, item 1)."""
    boxes = tuple(item.box() for item in objects)
    return tuple(_swapped(box) for box in boxes) if legacy else boxes


def object_mask(objects: Sequence[ForeignObject], size: MaskSize, *, legacy: bool) -> MaskSource:
    """The union of objects in their true shapes.

    With ``legacy`` ellipses are filled as rectangles, and polygons are drawn with x and y exchanged (§5.4; §7, item 2).
    """
    flat = ("rectangle", "ellipse") if legacy else ("rectangle",)
    parts: list[MaskSource] = [BoxMask(tuple(item.box() for item in objects if item.kind in flat), size)]
    ellipses = tuple(item.box() for item in objects if item.kind == "ellipse")
    if ellipses and not legacy:
        parts.append(EllipseMask(ellipses, size))
    polygons = tuple(item.points for item in objects if item.kind == "polygon")
    if polygons:
        exchanged = tuple(tuple((y, x) for x, y in corners) for corners in polygons)
        parts.append(PolygonMask(exchanged if legacy else polygons, size))
    return UnionMask(tuple(parts)) if len(parts) > 1 else parts[0]


def _swapped(box: Box) -> Box:
    width, height = box.x_max - box.x_min, box.y_max - box.y_min
    return Box(box.label, box.x_min, box.y_min, box.x_min + height, box.y_min + width)


def _object(words: list[str]) -> ForeignObject:
    shown = " ".join(words[:8]) + (" ..." if len(words) > 8 else "")
    kind = _KINDS.get(words[0])
    if kind is None:
        raise ValueError(f"'{shown}' begins with none of 0 (rectangle), 1 (ellipse) and 2 (polygon)")
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        raise ValueError(f"'{shown}' holds something that is no number") from None
    points = tuple(zip(numbers[0::2], numbers[1::2], strict=False))
    wanted = len(points) >= 3 if kind == "polygon" else len(points) == 2
    if len(numbers) % 2 or not wanted or not all(map(math.isfinite, numbers)):
        raise ValueError(f"'{shown}' has {len(numbers)} numbers: a {kind} needs {_needs(kind)}")
    return _with_area(ForeignObject(kind, points), shown)


def _needs(kind: Kind) -> str:
    return "x and y of three corners or more" if kind == "polygon" else "x and y of two corners"


def _with_area(item: ForeignObject, shown: str) -> ForeignObject:
    box = item.box()
    if box.x_min >= box.x_max or box.y_min >= box.y_max:
        raise ValueError(f"'{shown}' has no area")
    return (
        item if item.kind == "polygon" else ForeignObject(item.kind, ((box.x_min, box.y_min), (box.x_max, box.y_max)))
    )
