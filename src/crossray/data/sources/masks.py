"""Masks as publishers ship them: pictures, boxes, polygons, run-length code, and unions of these.

Each is a :class:`crossray.data.study.MaskSource`: small, picklable, drawn when it is read; ``[height, width]`` uint8
with 255 inside, 127 ignore, 0 outside, of the size that the film's file has. Formats: `localized_evaluation`,
section 5; two-colour pictures are read by a threshold above 0 (section 7, item 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from crossray.data.dicom_file import looks_like_dicom, read_start
from crossray.data.dicom_header import read_header
from crossray.data.grey import check_film_size
from crossray.data.images import open_picture, picture_size
from crossray.data.run_length import decode_relative_runs
from crossray.data.study import Box, MaskSource
from crossray.errors import StudyError

IGNORE = 127
Point = tuple[float, float]


class MaskError(StudyError):
    """A mask that cannot be drawn or read."""

    rule = "bad_mask"


class MaskSize(Protocol):
    """Where the size of a mask comes from."""

    def read(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...


@dataclass(frozen=True)
class FixedSize:
    """A size that the publisher states for every film."""

    height: int
    width: int

    def read(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width


@dataclass(frozen=True)
class SizeOfFilm:
    """The size of a film's file: of its DICOM header, or of the upright picture."""

    path: Path

    def read(self) -> tuple[int, int]:
        """Height and width in pixels.

        Raises:
            StudyError: the file cannot be read, or is none of PNG, JPEG and DICOM.
        """
        if looks_like_dicom(read_start(self.path)):
            header = read_header(self.path)
            check_film_size(header.rows, header.columns, self.path)
            return header.rows, header.columns
        return picture_size(self.path)


@dataclass(frozen=True)
class PictureMask:
    """A mask in a PNG or GIF file: whatever is not black is inside.

    Args:
        path: the file.
        keeps_ignore: the publisher marks pixels to ignore with 127; else these are inside as well.
    """

    path: Path
    keeps_ignore: bool = False

    def read(self) -> NDArray[np.uint8]:
        """The mask, ``[height, width]`` uint8.

        Raises:
            StudyError: the file is missing, damaged, or in another format.
        """
        read_start(self.path)
        values = _brightness(open_picture(self.path, formats=("PNG", "GIF")))
        mask = np.where(values > 0, 255, 0).astype(np.uint8)
        if self.keeps_ignore:
            mask[values == IGNORE] = IGNORE
        return mask


@dataclass(frozen=True)
class BoxMask:
    """Filled boxes: rows ``round(y_min):round(y_max)``, columns alike (section 5.1)."""

    boxes: tuple[Box, ...]
    size: MaskSize

    def read(self) -> NDArray[np.uint8]:
        """The mask, ``[height, width]`` uint8; what leaves the film is cut off."""
        mask = np.zeros(self.size.read(), dtype=np.uint8)
        for box in self.boxes:
            x_min, y_min, x_max, y_max = (max(0, round(edge)) for edge in (box.x_min, box.y_min, box.x_max, box.y_max))
            mask[y_min:y_max, x_min:x_max] = 255
        return mask


@dataclass(frozen=True)
class PolygonMask:
    """Filled polygons, each a ring of ``(x, y)`` corners in pixels; the outline is inside."""

    polygons: tuple[tuple[Point, ...], ...]
    size: MaskSize

    def read(self) -> NDArray[np.uint8]:
        """The mask, ``[height, width]`` uint8; what leaves the film is cut off.

        Raises:
            MaskError: a polygon has fewer than three corners.
        """
        height, width = self.size.read()
        picture = Image.new("L", (width, height), 0)
        draw = ImageDraw.Draw(picture)
        for corners in self.polygons:
            if len(corners) < 3:
                raise MaskError(f"a polygon has {len(corners)} corners.")
            draw.polygon(list(corners), fill=255, outline=255)
        return np.array(picture)


@dataclass(frozen=True)
class RunLengthMask:
    """The union of codes in SIIM-ACR's run-length format (section 5.3), one a row of its table."""

    codes: tuple[str, ...]
    size: MaskSize

    def read(self) -> NDArray[np.uint8]:
        """The mask, ``[height, width]`` uint8.

        Raises:
            StudyError: a code is none, or leaves the film.
        """
        height, width = self.size.read()
        inside = np.zeros(height * width, dtype=np.bool_)
        for code in self.codes:
            inside |= decode_relative_runs(code, height * width)
        # The code runs down the columns: [width, height] as written.
        return np.where(inside.reshape(width, height).T, 255, 0).astype(np.uint8)


@dataclass(frozen=True)
class UnionMask:
    """Several masks of one film: inside where any is, else ignore where any is."""

    parts: tuple[MaskSource, ...]

    def read(self) -> NDArray[np.uint8]:
        """The mask, ``[height, width]`` uint8.

        Raises:
            MaskError: there is no part, or their sizes differ.
        """
        masks = [part.read() for part in self.parts]
        if len({mask.shape for mask in masks}) != 1:
            raise MaskError(f"the masks to be joined have the sizes {_shapes(masks)} (height, width).")
        joined = masks[0]
        for mask in masks[1:]:
            joined = np.maximum(joined, mask)
        return joined


def _shapes(masks: Sequence[NDArray[np.uint8]]) -> str:
    return ", ".join(str(mask.shape) for mask in masks) or "none"


def _brightness(picture: Image.Image) -> NDArray[np.int64]:
    if picture.mode in ("L", "1") or picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.int64)
    # By colour, not by palette index: a palette may begin with any colour. The brightest channel decides, for a grey
    # value made of three channels is rounded.
    colours = np.asarray(picture.convert("RGB")).astype(np.int64)
    brightest: NDArray[np.int64] = colours.max(axis=2)
    return brightest
