"""One patient's build: the numbers that shape the film, and the outlines that follow from them.

Everything is in anatomical coordinates (see :mod:`crossray.data.phantom.frame`). The ranges were set by eye,
so that films look like films; they are no statistics of a population.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter1d

from crossray.data.phantom.draws import Draws
from crossray.data.phantom.frame import Field

SIDES = (-1, 1)

_TABLE_Y = np.linspace(-0.6, 1.8, 961)
_SILHOUETTE_Y = (-0.6, 0.0, 0.12, 0.20, 0.265, 0.33, 0.36, 0.43, 0.50, 0.60, 0.72, 0.84, 0.93, 1.0, 1.10, 1.25)
_LEFT_EDGE = (0.09, 0.10, 0.10, 0.12, 0.15, 0.13, 0.115, 0.145, 0.165, 0.21, 0.285, 0.345, 0.368, 0.365, 0.31, 0.22)
_RIGHT_EDGE = (0.09, 0.10, 0.10, 0.105, 0.11, 0.11, 0.11, 0.118, 0.135, 0.168, 0.197, 0.21, 0.205, 0.185, 0.15, 0.12)


@dataclass(frozen=True)
class Anatomy:
    """The build of one patient. Lengths in units of lung height, the rest as said.

    ``stream`` is the number that the finer random detail (vessel trees, texture) is drawn from;
    ``heart_ratio`` is the healthy heart's width over the cage's.
    """

    stream: int
    cage: float
    taper: float
    dome_right: float
    dome_left: float
    dome_curve: float
    heart_ratio: float
    heart_slant: float
    mediastinum: float
    knob: float
    girth: float
    shoulder: float
    rib_drop: float
    rib_radius: float
    rib_density: float
    clavicle_height: float
    scoliosis: float
    rotation: float
    breast: float
    breast_height: float
    bubble: float
    bubble_x: float
    vessel: float
    scapula: float
    arms: float

    @cached_property
    def _half_width_table(self) -> Field:
        rise = np.clip(1 - np.clip(_TABLE_Y + 0.08, 0, 1), 0, 1)
        half_width = self.cage * (1 - rise**3.3) ** 0.5
        below = 1 - self.taper * np.clip(_TABLE_Y - 0.85, 0, None)
        return np.asarray(gaussian_filter1d(half_width * below, 3))

    def half_width(self, y: Field) -> Field:
        """Inner half-width of the rib cage at the height y; 0 well above the apices."""
        return np.interp(y, _TABLE_Y, self._half_width_table)

    def apex(self, x: Field) -> Field:
        """Height of the upper end of the lung at x: a dome over each side."""
        away = (np.abs(x) - 0.20) / 0.17
        return 0.09 * away * away

    def dome(self, x: Field) -> Field:
        """Height of the diaphragm's dome at x: the right dome where x is negative, the left elsewhere."""
        top = np.where(x < 0, self.dome_right, self.dome_left)
        peak = 0.52
        reach = np.abs(x) / self.cage
        lateral = np.clip(reach - peak, 0, None) / (1 - peak)
        medial = np.clip(peak - reach, 0, None) / peak
        square = lateral * lateral
        return top + self.dome_curve * square * (0.55 + 0.6 * square * lateral) + 0.09 * medial * medial

    def silhouette(self, heart_ratio: float) -> tuple[Field, Field]:
        """Edges of heart and mediastinum ``(right, left)`` on the table of heights (both as x).

        The part that is the heart is widened until heart and cage stand in the given ratio.
        """
        y = np.asarray(_SILHOUETTE_Y)
        base = 0.10
        fixed = 2 * base * self.mediastinum + 0.45 * (max(_RIGHT_EDGE) - base)
        growing = max(_LEFT_EDGE) - base + 0.55 * (max(_RIGHT_EDGE) - base)
        heart = (2 * self.cage * heart_ratio - fixed) / growing
        grow = np.where(y >= 0.42, heart, np.where((y > 0.13) & (y < 0.35), self.knob, 1.0))
        slant = np.where(y > 0.5, self.heart_slant * (y - 0.5), 0.0)
        left = base * self.mediastinum + (np.asarray(_LEFT_EDGE) - base) * grow + slant * 0.1
        right = base * self.mediastinum + (np.asarray(_RIGHT_EDGE) - base) * (grow * 0.55 + 0.45) - slant * 0.05
        edges = (np.interp(_TABLE_Y, y, edge) for edge in (right, left))
        right_edge, left_edge = (np.asarray(gaussian_filter1d(edge, 11)) for edge in edges)
        shift = 0.06 * self.rotation
        return -right_edge + shift, left_edge + shift

    def midline(self, y: Field) -> Field:
        """x of the spine at the height y."""
        return self.scoliosis * np.sin(np.pi * (y - 0.1))


def at_heights(table: Field, y: Field) -> Field:
    """Values of a silhouette table at the heights y."""
    return np.interp(y, _TABLE_Y, table)


def sample_anatomy(draws: Draws) -> Anatomy:
    """A patient's build."""
    between = draws.between
    dome_right = between(0.97, 1.03)
    return Anatomy(
        stream=int(draws.unit() * 2**31),
        cage=between(0.54, 0.65),
        taper=between(-0.05, 0.12),
        dome_right=dome_right,
        dome_left=dome_right + between(0.0, 0.06),
        dome_curve=between(0.13, 0.24),
        heart_ratio=between(0.39, 0.48),
        heart_slant=between(-0.25, 0.25),
        mediastinum=between(0.88, 1.12),
        knob=between(0.6, 1.6),
        girth=between(0.08, 0.22),
        shoulder=between(-0.06, 0.04),
        rib_drop=between(0.34, 0.44),
        rib_radius=between(0.021, 0.026),
        rib_density=between(0.8, 1.15),
        clavicle_height=between(-0.06, 0.04),
        scoliosis=between(-0.02, 0.02),
        rotation=between(-1.0, 1.0),
        breast=draws.choice((0.0, 1.0)) * between(0.3, 1.0),
        breast_height=between(0.84, 1.06),
        bubble=between(0.0, 1.0),
        bubble_x=between(0.18, 0.36),
        vessel=between(0.85, 1.2),
        scapula=between(-0.04, 0.10),
        arms=between(0.0, 1.0),
    )
