"""What a finding does to a film, and the small tools that findings are drawn with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.data.phantom.case import SIZES, Finding, Size
from crossray.data.phantom.frame import Field
from crossray.data.phantom.scene import Scene

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Effect:
    """What a finding does to the film. All fields are ``[height, width]``; absent layers change nothing.

    ``opacity`` is the share of the air that is filled, ``added`` attenuation on top, ``bare`` the share of lung
    marking and vessels taken away, ``wet`` how much thicker vessels look.
    """

    mask: Mask
    opacity: Field | None = None
    added: Field | None = None
    bare: Field | None = None
    wet: Field | None = None


@dataclass(frozen=True)
class Patch:
    """A part of the film: the coordinates in it, and the way back to the whole film."""

    window: tuple[slice, slice]
    shape: tuple[int, int]
    x: Field
    y: Field

    def of(self, field: Field) -> Field:
        """The part of a whole field."""
        return field[self.window]

    def whole(self, part: Field) -> Field:
        """A whole field that is 0 outside the part."""
        result = np.zeros(self.shape)
        result[self.window] = part
        return result


def patch_around(scene: Scene, x: float, y: float, reach_x: float, reach_y: float) -> Patch:
    """The part of the film around an anatomical point."""
    window = scene.frame.window(x - reach_x, y - reach_y, x + reach_x, y + reach_y)
    columns, rows = scene.frame.grid
    return Patch(window, columns.shape, columns[window], rows[window])


def grade(size: Size) -> int:
    """0, 1 or 2 for small, moderate or large."""
    return SIZES.index(size)


def side_numbers(finding: Finding, side: int) -> tuple[float, ...]:
    """The finding's numbers, another order for the second side: its two sides are no mirror images."""
    return finding.shape if side <= 0 else (*finding.shape[5:], *finding.shape[:5])


def ramp(values: Field) -> Field:
    """0 below 0, 1 above 1, smooth between."""
    clipped = np.clip(values, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def cloud(x: Field, y: Field, numbers: tuple[float, ...], grain: float) -> Field:
    """Smooth random field of about unit spread: plane waves of three octaves, the finer the weaker.

    Directions and phases follow from the numbers and not from pixels, so that a film of another size is the same.
    """
    total = np.zeros_like(x)
    for index in range(9):
        octave, turn = divmod(index, 3)
        number, other = numbers[index % len(numbers)], numbers[(index * 5 + 2) % len(numbers)]
        angle = np.pi * (turn + octave / 3 + number) / 3
        pitch = 2 * np.pi / grain * 2**octave * (0.75 + 0.5 * other)
        bend = 0.6 * np.sin(0.37 * pitch * (x * np.sin(angle) - y * np.cos(angle)) + 9 * other)
        total += 0.62**octave * np.cos(pitch * (x * np.cos(angle) + y * np.sin(angle)) + 20 * number + bend)
    return np.asarray(total / 1.55)


def displaced_air(thickness: Field, scene: Scene) -> Field:
    """The share of the air that tissue of a thickness takes the place of: in fluid it cannot be seen."""
    return np.clip(thickness / np.maximum(scene.air, 0.15), 0, 0.95)
