"""True and predicted masks or boxes drawn over a film; orange and blue are told apart by the colour-blind."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRUE, PREDICTED = (230, 159, 0), (86, 180, 233)
"""Okabe and Ito's orange and sky blue."""

_SIDE = 448


def film_with_masks(pixels: NDArray[np.uint8], wanted: NDArray[np.bool_], called: NDArray[np.bool_]) -> str:
    """PNG data URI of a film ``[S, S]`` with the outlines of two masks ``[s, s]``: the same square in its own size."""
    shown = np.array(_canvas(pixels))
    for mask, colour in ((wanted, TRUE), (called, PREDICTED)):
        shown[_edge(mask)] = colour
    from PIL import Image

    return _uri(Image.fromarray(shown))


def film_with_boxes(
    pixels: NDArray[np.uint8], size: int, wanted: NDArray[np.floating], called: NDArray[np.floating]
) -> str:
    """PNG data URI of a film with boxes ``[k, 4]`` (left, top, right, bottom) in a square of side ``size``."""
    from PIL import ImageDraw

    shown = _canvas(pixels)
    draw = ImageDraw.Draw(shown)
    for boxes, colour, width in ((wanted, TRUE, 4), (called, PREDICTED, 2)):
        for box in np.asarray(boxes, dtype=float) * (_SIDE / size):
            left, top, right, bottom = (float(edge) for edge in np.clip(box, 0, _SIDE - 1))
            if right > left and bottom > top:
                draw.rectangle((left, top, right, bottom), outline=colour, width=width)
    return _uri(shown)


def _canvas(pixels: NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR).convert("RGB")


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rim of a mask, two pixels wide, in the picture's size."""
    places = (np.arange(_SIDE) * len(mask)) // _SIDE
    large = mask[np.ix_(places, places)]
    inner = np.pad(large, 2)
    core = inner[:-4, 2:-2] & inner[4:, 2:-2] & inner[2:-2, :-4] & inner[2:-2, 4:]
    rim: NDArray[np.bool_] = large & ~core
    return rim


def _uri(shown: Any) -> str:
    buffer = io.BytesIO()
    shown.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
