"""The film itself: its shape and framing, and what happens between attenuation and grey value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from crossray.data.phantom.anatomy import Anatomy
from crossray.data.phantom.draws import Draws, Stream
from crossray.data.phantom.frame import Field, FilmFrame
from crossray.data.phantom.presets import DifficultySettings

_ASPECTS = (1.22, 1.22, 1.1, 1.0, 1.0, 0.83)  # height to width, as detectors are held
_GLYPHS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "L": ("X....", "X....", "X....", "X....", "X....", "X....", "XXXXX"),
        "R": ("XXXX.", "X...X", "X...X", "XXXX.", "X.X..", "X..X.", "X...X"),
    }
)


@dataclass(frozen=True)
class FilmStyle:
    """How one film was taken.

    ``margin`` is how much is seen beside the rib cage; ``exposure`` shifts, ``latitude`` stretches the grey scale;
    ``noise`` is the photon noise as a share of the signal in the lungs, ``sharpen`` the edge enhancement of the
    reader, ``border`` the shutter at each edge (left, top, right, bottom, shares of the film; 0 for none),
    ``marker`` the side letter or nothing.
    """

    stream: int
    aspect: float
    tilt: float
    zoom: float
    margin: float
    shift_x: float
    shift_y: float
    exposure: float
    latitude: float
    noise: float
    sharpen: float
    border: tuple[float, float, float, float]
    border_bright: bool
    marker: str
    marker_size: float
    marker_x: float
    marker_y: float

    def opening(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns that the shutter leaves open."""
        left, top, right, bottom = self.border
        return (
            slice(int(top * height), height - int(bottom * height)),
            slice(int(left * width), width - int(right * width)),
        )


def sample_style(draws: Draws, settings: DifficultySettings) -> FilmStyle:
    """How a film is taken."""
    between = draws.between
    shuttered = draws.chance(0.35)

    def edge() -> float:
        return between(0.0, 0.045) * shuttered * draws.chance(0.6)

    return FilmStyle(
        stream=int(draws.unit() * 2**31),
        aspect=draws.choice(_ASPECTS) * between(0.985, 1.015),
        tilt=between(-settings.tilt, settings.tilt),
        zoom=between(0.90, 1.04),
        margin=between(0.12, 0.30),
        shift_x=between(-0.03, 0.03),
        shift_y=between(-0.03, 0.03),
        exposure=between(-0.08, 0.06),
        latitude=between(0.8, 1.15),
        noise=between(*settings.noise),
        sharpen=between(0.2, 0.9),
        border=(edge(), edge(), edge(), edge()),
        border_bright=draws.chance(0.3),
        marker=draws.choice(("L", "R", "L", "R", "")),
        marker_size=between(0.035, 0.055),
        marker_x=between(0.04, 0.14),
        marker_y=between(0.03, 0.16),
    )


def frame_film(style: FilmStyle, anatomy: Anatomy, size: int) -> FilmFrame:
    """The film's shape (its long side has ``size`` pixels) and where the patient stands on it."""
    height = size if style.aspect >= 1 else max(1, round(size * style.aspect))
    width = size if style.aspect < 1 else max(1, round(size / style.aspect))
    rows, columns = style.opening(height, width)
    open_height, open_width = rows.stop - rows.start, columns.stop - columns.start
    reach = 2 * (anatomy.cage + style.margin)
    scale = min(open_height / 1.46, open_width / reach) * style.zoom
    return FilmFrame(
        height=height,
        width=width,
        scale=scale,
        origin_x=columns.start + open_width * (0.5 + style.shift_x),
        origin_y=rows.start + open_height * (0.5 + style.shift_y) - 0.55 * scale,
        tilt=style.tilt,
    )


def expose(attenuation: Field, style: FilmStyle) -> NDArray[np.uint8]:
    """Grey values of a film: transmission, scatter, photon noise, response curve, edge enhancement, shutter."""
    signal = np.exp(-1.9 * attenuation)
    small = zoom(signal, 0.25, order=1, grid_mode=True, mode="nearest")
    fog = gaussian_filter(small, 0.035 * max(signal.shape) * 0.25, mode="nearest")
    factors = (signal.shape[0] / fog.shape[0], signal.shape[1] / fog.shape[1])
    signal = signal + 0.22 * zoom(fog, factors, order=1, grid_mode=True, mode="nearest")
    noise = Draws(style.stream, Stream.NOISE).generator.standard_normal(signal.shape)
    signal = np.maximum(signal + style.noise * 0.55 * np.sqrt(signal / 0.55) * noise, 1e-3)
    density = gaussian_filter(-np.log(signal), 0.5) / 1.9
    detail = density - gaussian_filter(density, 0.012 * max(signal.shape), truncate=2.5)
    density = density + style.sharpen * detail
    level = (density - 0.49 - style.exposure) / (0.45 * style.latitude)
    grey = 1 / (1 + np.exp(-1.7 * level))
    return _finish(grey, style)


def _finish(grey: Field, style: FilmStyle) -> NDArray[np.uint8]:
    if style.marker:
        _stamp(grey, style)
    shuttered = np.full_like(grey, 0.97 if style.border_bright else 0.02)
    opening = style.opening(*grey.shape)
    shuttered[opening] = grey[opening]
    grey = shuttered
    return np.asarray(np.rint(255 * np.clip(grey, 0, 1)), dtype=np.uint8)


def _stamp(grey: Field, style: FilmStyle) -> None:
    """The side letter, at the top of the film on its own side: R on the left of the picture."""
    height, width = grey.shape
    letter = np.array([[cell == "X" for cell in row] for row in _GLYPHS[style.marker]], dtype=np.float64)
    cell = max(1, round(style.marker_size * max(height, width) / 7))
    block = gaussian_filter(np.pad(np.kron(letter, np.ones((cell, cell))), 1), 0.45)
    inset = int(style.marker_x * width)
    left = inset if style.marker == "R" else width - inset - block.shape[1]
    top = int(style.marker_y * height)
    place = grey[top : top + block.shape[0], left : left + block.shape[1]]
    block = block[: place.shape[0], : place.shape[1]]
    place[...] = np.maximum(place, block)
