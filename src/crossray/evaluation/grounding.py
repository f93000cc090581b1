"""How well a heat map points at true boxes, on the pixels of the original film and whatever the map's scale.

Maps of different methods have different scales (attention sums to 1, cosines may be negative), so each is stretched
to 0 at its lowest and 1 at its highest pixel of the film before it is scored; pointing game and CNR do not feel that.
A map that is the same everywhere points nowhere: its scores are those of chance, exactly (:func:`chance_scores`).

Film that the crop left out was not seen: it gets the map's lowest value, so that a box there can be missed. What a
map says about the padding around a film is no answer about the film: the maximum is sought on the film, and
``maximum off the film`` tells how often the map's own maximum lay in the padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossray.data.geometry import CropWindow, FilmGeometry
from crossray.data.study import Box
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.retrieval import Ties
from crossray.settings import Settings

POINTING = "pointing game"
CNR = "CNR"
SIGNED_CNR = "CNR, signed"
MASS = "mass inside / area"
MIOU = "mIoU"
OFF_FILM = "maximum off the film"

#: Differences below this share of a map's range are rounding: maps are interpolated in single precision.
_ROUNDING = 1e-6


class GroundingConfig(Settings):
    """Which phrases are looked for, and how their maps are scored.

    Attributes:
        text: what the model is given: the ``phrase`` itself, or the whole ``sentence`` that holds it.
        findings: which findings' phrases; empty = all.
        iou_thresholds: of the stretched map; what lies above is called, and the mean IoU with the boxes is scored.
        centre_width: standard deviation of the centre floor's Gaussian, as a share of the film's sides.
    """

    text: Literal["phrase", "sentence"] = "phrase"
    findings: tuple[str, ...] = ()
    iou_thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    centre_width: float = Field(default=0.25, gt=0)

    @property
    def in_words(self) -> str:
        """The choices that a table's reader must know."""
        which = f"phrases of {', '.join(self.findings)}" if self.findings else "phrases of every finding"
        given = "the phrase itself is given" if self.text == "phrase" else "the sentence that holds it is given"
        levels = ", ".join(f"{threshold:g}" for threshold in self.iou_thresholds)
        return f"{which}; {given}; maps stretched to 0..1 on the film, mIoU at {levels}"


def film_heat(heat: FloatArray, geometry: FilmGeometry, window: CropWindow) -> FloatArray:
    """A map ``[rows, columns]`` of what the model saw, on the original film ``[H, W]``, stretched to 0..1.

    Raises:
        ValueError: the map holds NaN or infinity.
    """
    # Stretched before it is interpolated too, for that is done in single precision.
    full = geometry.map_to_original(stretched(heat), window, outside=np.nan).astype(np.float64)
    return stretched(np.where(np.isnan(full), np.nanmin(full), full))


def stretched(heat: FloatArray) -> FloatArray:
    """The map from 0 (lowest) to 1 (highest); zeros if it is the same everywhere.

    Raises:
        ValueError: the map holds NaN or infinity.
    """
    heat = np.asarray(heat, dtype=np.float64)
    if not np.isfinite(heat).all():
        raise ValueError("a heat map holds NaN or infinity")
    low, high = float(heat.min()), float(heat.max())
    if high - low <= _ROUNDING * max(abs(low), abs(high)):
        return np.zeros_like(heat)
    result: FloatArray = (heat - low) / (high - low)
    return result


def box_mask(geometry: FilmGeometry, boxes: Sequence[Box]) -> NDArray[np.bool_]:
    """``[H, W]``: True for each pixel of the original film that a box touches."""
    inside = np.zeros((geometry.original_height, geometry.original_width), dtype=bool)
    for box in boxes:
        clipped = geometry.clip_to_film(box)
        if clipped is not None:
            rows = slice(int(np.floor(clipped.y_min)), int(np.ceil(clipped.y_max)))
            inside[rows, int(np.floor(clipped.x_min)) : int(np.ceil(clipped.x_max))] = True
    return inside


def map_scores(
    heat: FloatArray, inside: NDArray[np.bool_], thresholds: Sequence[float], ties: Ties = "expected"
) -> dict[str, float]:
    """Scores of a stretched map ``[H, W]`` against the true pixels.

    Args:
        heat: from 0 to 1, or 0 everywhere (:func:`stretched`).
        inside: True in the boxes; at least one pixel is.
        thresholds: of mIoU.
        ties: several highest pixels: their share inside the boxes, whether all (``pessimistic``) or any
            (``optimistic``) are.

    Returns:
        By name; a contrast is NaN where there is no outside, or where both parts are flat and differ.
    """
    area = float(inside.mean())
    highest = inside[heat >= heat.max() - _ROUNDING]
    pointing = {"expected": highest.mean(), "pessimistic": highest.all(), "optimistic": highest.any()}[ties]
    contrast = _contrast(heat[inside], heat[~inside])
    if heat.max() <= 0:
        return {POINTING: float(pointing), CNR: abs(contrast), SIGNED_CNR: contrast, MASS: 1.0, MIOU: area}
    called = [heat > threshold for threshold in thresholds]
    overlaps = [np.count_nonzero(map_ & inside) / np.count_nonzero(map_ | inside) for map_ in called]
    return {
        POINTING: float(pointing),
        CNR: abs(contrast),
        SIGNED_CNR: contrast,
        MASS: float(heat[inside].sum() / heat.sum()) / area,
        MIOU: float(np.mean(overlaps)),
    }


def chance_scores(area: FloatArray) -> dict[str, FloatArray]:
    """What a map that is the same everywhere scores, by name, for boxes that cover ``area [P]`` of their film."""
    nothing = np.zeros_like(area)
    return {POINTING: area, CNR: nothing, SIGNED_CNR: nothing, MASS: np.ones_like(area), MIOU: area}


def off_film(heat: FloatArray, geometry: FilmGeometry, window: CropWindow) -> float:
    """Share of a map's highest regions (one, or several if they tie) that show nothing but padding."""
    level = stretched(heat)
    on_film = geometry.regions_on_film((heat.shape[0], heat.shape[1]), window)
    return float((~on_film[level >= level.max() - _ROUNDING]).mean())


def _contrast(inside: FloatArray, outside: FloatArray) -> float:
    """(mean inside - mean outside) / sqrt(sum of their variances)."""
    if outside.size == 0:
        return float("nan")
    difference = float(inside.mean() - outside.mean())
    noise = float(np.sqrt(inside.var() + outside.var()))
    if noise == 0:
        return 0.0 if difference == 0 else float("nan")
    return difference / noise
