"""Where anatomy lies on the film: anatomical coordinates, pixels, and tubes laid down between them.

Anatomical coordinates: the origin is the midline at the height of the lung apices, x grows towards the
patient's left (the right of the picture), y downwards; 1 is the height from the apices to the right dome of
the diaphragm. A *side* is -1 for the patient's right and +1 for the patient's left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Profile = Literal["solid", "cortical"]

_SAMPLE_PIXELS = 0.9  # spacing of the samples that a tube is laid down with: above it ripples show


@dataclass(frozen=True)
class FilmFrame:
    """A film of ``height x width`` pixels over the anatomy: pixels per unit, pixel of the origin, tilt in radians."""

    height: int
    width: int
    scale: float
    origin_x: float
    origin_y: float
    tilt: float

    @cached_property
    def grid(self) -> tuple[Field, Field]:
        """Anatomical ``(x, y)`` of every pixel centre, each ``[height, width]``."""
        column = (np.arange(self.width) + 0.5 - self.origin_x) / self.scale
        row = (np.arange(self.height) + 0.5 - self.origin_y)[:, None] / self.scale
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return column * cos + row * sin, row * cos - column * sin

    def coarse(self) -> FilmFrame:
        """The same view with pixels twice as large, for what has no sharp edges."""
        height, width = -(-self.height // 2), -(-self.width // 2)
        return FilmFrame(height, width, self.scale / 2, self.origin_x / 2, self.origin_y / 2, self.tilt)

    def to_pixels(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Pixel coordinates (continuous; pixel k covers [k, k + 1)) of anatomical points."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        return (
            self.origin_x + self.scale * (x * cos - y * sin),
            self.origin_y + self.scale * (x * sin + y * cos),
        )

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        """Rows and columns that hold an anatomical rectangle, so that small things cost little."""
        x, y = self.to_pixels(np.array([left, right, left, right]), np.array([top, top, bottom, bottom]))
        rows = slice(max(int(y.min()) - 1, 0), max(min(int(y.max()) + 2, self.height), 0))
        columns = slice(max(int(x.min()) - 1, 0), max(min(int(x.max()) + 2, self.width), 0))
        return rows, columns

    def deposit(self, x: Field, y: Field, amount: Field) -> Field:
        """Lay ``amount`` (thickness times area in square pixels) at anatomical points, shared by four pixels."""
        column, row = self.to_pixels(x.ravel(), y.ravel())
        # One pixel of margin on every side takes what falls outside, so that no sample has to be picked out.
        column = np.clip(column + 0.5, 0, self.width + 1)
        row = np.clip(row + 0.5, 0, self.height + 1)
        left, top = column.astype(np.int32), row.astype(np.int32)
        right_share, bottom_share = column - left, row - top
        pitch = self.width + 2
        flat = top * pitch + left
        below = amount.ravel() * bottom_share
        above = amount.ravel() - below
        below_right, above_right = below * right_share, above * right_share
        length = (self.height + 3) * pitch
        result: Field = np.bincount(flat, above - above_right, minlength=length).astype(np.float64)
        result[1:] += np.bincount(flat, above_right, minlength=length)[:-1]
        result[pitch:] += np.bincount(flat, below - below_right, minlength=length)[:-pitch]
        result[pitch + 1 :] += np.bincount(flat, below_right, minlength=length)[: -pitch - 1]
        return result.reshape(-1, pitch)[1 : self.height + 1, 1 : self.width + 1]


def from_coarse(field: Field, frame: FilmFrame) -> Field:
    """A field drawn on ``frame.coarse()``, brought to the frame's own pixels."""
    shape = (2 * field.shape[0], 2 * field.shape[1])
    padded = np.pad(field, 1, mode="edge")
    rows = np.empty((shape[0], padded.shape[1]))
    rows[0::2] = 0.75 * padded[1:-1] + 0.25 * padded[:-2]
    rows[1::2] = 0.75 * padded[1:-1] + 0.25 * padded[2:]
    result = np.empty(shape)
    result[:, 0::2] = 0.75 * rows[:, 1:-1] + 0.25 * rows[:, :-2]
    result[:, 1::2] = 0.75 * rows[:, 1:-1] + 0.25 * rows[:, 2:]
    return result[: frame.height, : frame.width]


@dataclass(frozen=True)
class Tubes:
    """N curved tubes of S points each: centre lines ``x, y [N, S]``, half-width and attenuation at the axis."""

    x: Field
    y: Field
    radius: Field
    weight: Field


def tube_field(frame: FilmFrame, tubes: Tubes, profile: Profile = "solid") -> Field:
    """The attenuation that tubes add to a film, ``[height, width]``.

    ``solid`` is a filled cylinder (half a circle across); ``cortical`` a shell, bright along both edges, as bone.
    """
    x, y, radius, weight = _refine(tubes, frame.scale)
    step_x, step_y = np.gradient(x, axis=1), np.gradient(y, axis=1)
    length = np.hypot(step_x, step_y) + 1e-12
    across = max(1, int(np.ceil(2 * float(radius.max()) * frame.scale / _SAMPLE_PIXELS)))
    offset = (np.arange(across) + 0.5) / across * 2 - 1
    normal = radius[..., None] * offset
    amount = (length * radius * weight * frame.scale**2 * 2 / across)[..., None] * _across(offset, profile)
    return frame.deposit(
        x[..., None] - normal * (step_y / length)[..., None],
        y[..., None] + normal * (step_x / length)[..., None],
        amount,
    )


def _across(offset: Field, profile: Profile) -> Field:
    solid = np.sqrt(1 - offset**2)
    if profile == "solid":
        return solid
    inner = np.sqrt(np.clip(0.78**2 - offset**2, 0, None))
    return solid - 0.72 * inner


def _refine(tubes: Tubes, scale: float) -> tuple[Field, Field, Field, Field]:
    """Add points along the tubes until neighbours are within the sample spacing."""
    longest = np.hypot(np.diff(tubes.x, axis=1), np.diff(tubes.y, axis=1)).sum(axis=1).max() * scale
    points = tubes.x.shape[1]
    wanted = max(points, int(np.ceil(longest / _SAMPLE_PIXELS)) + 1)
    place = np.linspace(0, points - 1, wanted)
    left = np.minimum(place.astype(np.int64), points - 2)
    share = place - left
    x, y, radius, weight = (
        values[:, left] * (1 - share) + values[:, left + 1] * share
        for values in (tubes.x, tubes.y, tubes.radius, tubes.weight)
    )
    return x, y, radius, weight
