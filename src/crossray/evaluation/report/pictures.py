"""Films as pictures of the report: in their true shape, with heat maps and boxes laid over them, as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.data.geometry import CropWindow, FilmGeometry
from crossray.data.study import Box

_JPEG_QUALITY = 88


@dataclass(frozen=True)
class PlacedBox:
    """A box over a picture, in per cent of its width and height."""

    label: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Picture:
    """A film ready to be shown: a data URI, its shape, and boxes over it."""

    uri: str
    width: int
    height: int
    boxes: tuple[PlacedBox, ...] = ()


def film_picture(
    pixels: NDArray[np.uint8], geometry: FilmGeometry, boxes: Sequence[Box] = (), *, longest: int | None = None
) -> Picture:
    """A prepared film ``[S, S]`` without its padding; boxes are in pixels of the original film.

    ``longest`` makes the picture smaller where one of its sides has more pixels.
    """
    film = _content(pixels, geometry)
    return _picture(film if longest is None else _within(film, longest), geometry, boxes)


def heat_picture(
    pixels: NDArray[np.uint8],
    geometry: FilmGeometry,
    heat: NDArray[np.floating],
    window: CropWindow,
    boxes: Sequence[Box] = (),
) -> Picture:
    """A film with a heat map ``[rows, columns]`` over what the model saw.

    The strongest region is opaque orange, the weakest is clear: strength is relative within one map.
    """
    film = _content(pixels, geometry).astype(np.float32)
    full = heat_on_content(heat, geometry, window)
    return _picture(overlay(film, full, float(heat.min()), float(heat.max())), geometry, boxes)


def overlay(
    film: NDArray[np.floating | np.uint8], heat: NDArray[np.floating], low: float, high: float
) -> NDArray[np.uint8]:
    """A film ``[h, w]`` 0..255 with a map ``[h, w]`` in colour over it: clear at ``low``, strongest at ``high``."""
    strength = np.clip((heat - low) / max(high - low, 1e-12), 0.0, 1.0)[..., None].astype(np.float32)
    alpha = 0.62 * strength**0.8
    mixed: NDArray[np.float32] = (1 - alpha) * film[..., None] + alpha * _colours(strength[..., 0])
    return mixed.astype(np.uint8)


def heat_on_content(heat: NDArray[np.floating], geometry: FilmGeometry, window: CropWindow) -> NDArray[np.float32]:
    """A heat map on the film's part of the prepared square (the original film scaled down, padding left out).

    Film outside the window was not seen: it gets the map's minimum.
    """
    height, width = geometry.content_height, geometry.content_width
    scaled = FilmGeometry(height, width, height, width, geometry.prepared_size)
    return scaled.map_to_original(heat, window, outside=float(heat.min()))


def _content(pixels: NDArray[np.uint8], geometry: FilmGeometry) -> NDArray[np.uint8]:
    x0, y0, x1, y1 = geometry.content_box()
    return pixels[y0:y1, x0:x1]


def _within(film: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    from PIL import Image

    picture = Image.fromarray(film)
    picture.thumbnail((longest, longest))
    return np.asarray(picture)


def _colours(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """From dark violet to yellow (matplotlib's inferno, its readable part), ``[h, w, 3]`` in 0..255."""
    from matplotlib import colormaps

    colours: NDArray[np.float32] = 255 * colormaps["inferno"](0.25 + 0.6 * strength)[..., :3].astype(np.float32)
    return colours


def _picture(shown: NDArray[np.uint8], geometry: FilmGeometry, boxes: Sequence[Box]) -> Picture:
    height, width = shown.shape[:2]
    clipped = [box for box in (geometry.clip_to_film(box) for box in boxes) if box is not None]
    return Picture(_uri(shown), width, height, tuple(_placed(box, geometry) for box in clipped))


def _placed(box: Box, geometry: FilmGeometry) -> PlacedBox:
    across, down = 100 / geometry.original_width, 100 / geometry.original_height
    return PlacedBox(
        box.label,
        left=box.x_min * across,
        top=box.y_min * down,
        width=(box.x_max - box.x_min) * across,
        height=(box.y_max - box.y_min) * down,
    )


def _uri(shown: NDArray[np.uint8]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
