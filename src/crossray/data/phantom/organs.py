"""Soft tissue, air and vessels of the phantom, as thicknesses along the ray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from crossray.data.phantom.anatomy import SIDES, Anatomy, at_heights
from crossray.data.phantom.draws import Draws, Stream
from crossray.data.phantom.frame import Field, FilmFrame, Tubes, tube_field

HEART_TOP, HEART_BOTTOM = 0.45, 1.09


@dataclass(frozen=True)
class Lungs:
    """The two lungs on a film.

    ``inside`` is 1 within the pleural cavity of either side (0 outside, soft at the wall), ``depth`` the length
    of air along the ray, ``wall`` x relative to the cage's half-width (signed), ``above`` the height over the dome.
    """

    inside: Field
    depth: Field
    wall: Field
    above: Field


def lungs(anatomy: Anatomy, frame: FilmFrame) -> Lungs:
    """Pleural cavities and the air in them, before heart and findings."""
    x, y = frame.grid
    half_width = anatomy.half_width(y)
    wall = x / np.maximum(half_width, 1e-3)
    dome = np.where(x < 0, anatomy.dome(-1, x), anatomy.dome(1, x))
    above = dome - y
    edge = 0.7 / frame.scale
    sideways = np.clip((half_width - np.abs(x)) / edge, 0, 1) * (half_width > 0.02)
    inside = sideways * np.clip(above / edge + 0.5, 0, 1)
    cross = np.sqrt(np.clip(1 - np.abs(wall) ** 2.6, 0, None))
    upper = np.clip((y + 0.02) / 0.42, 0, 1) ** 0.42
    recess = 0.16 * np.exp(-np.clip(-above, 0, None) / 0.06) * sideways * cross
    front = np.clip(above / 0.16, 0, 1) ** 0.35
    depth = inside * cross * upper * (0.40 + 0.30 * front) + (1 - np.clip(above / edge + 0.5, 0, 1)) * recess
    return Lungs(inside, depth, wall, above)


def heart_thickness(anatomy: Anatomy, frame: FilmFrame, heart_scale: float) -> tuple[Field, Field]:
    """``(thickness, heart)``: soft tissue of heart and mediastinum; 1 inside the heart's own outline."""
    x, y = frame.grid
    right_table, left_table = anatomy.silhouette(heart_scale)
    right, left = at_heights(right_table, y), at_heights(left_table, y)
    across = (2 * x - right - left) / (left - right)
    chord = np.sqrt(np.clip(1 - across**2, 0, None))
    depth = 0.44 + 0.16 * np.clip((y - 0.40) / 0.35, 0, 1)
    heart = (np.abs(across) < 1) & (y > HEART_TOP) & (y < HEART_BOTTOM)
    return chord**0.8 * depth, heart.astype(np.float64)


def body_thickness(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Soft tissue of trunk, shoulders, neck and arms, as if there were no air in it."""
    x, y = frame.grid
    reach = np.abs(x)
    flank = anatomy.cage + anatomy.girth * (0.75 + 0.25 * np.clip(y - 0.7, 0, None))
    axilla = 0.40 * np.exp(-np.clip(y - 0.02, 0, None) / 0.28)
    trunk = np.sqrt(np.clip(1 - (reach / (flank + axilla)) ** 3.2, 0, None))
    slope = -0.30 + anatomy.shoulder + 0.42 * np.clip(reach - 0.18, 0, None) ** 1.15
    under = np.sqrt(np.clip((y - slope) / 0.34, 0, 1))
    neck = 0.62 * np.sqrt(np.clip(1 - (reach / 0.235) ** 2, 0, None)) * np.clip(0.5 - y, 0, 1)
    belly = 1 + 0.18 * np.clip(y - 0.95, 0, 0.4) / 0.4
    arm_axis = 0.98 + 0.10 * anatomy.arms * np.clip(y, 0, 1) + 0.05 * anatomy.scapula
    arm = 0.55 * np.sqrt(np.clip(1 - ((reach - arm_axis) / 0.15) ** 2, 0, None)) * np.clip((y + 0.05) / 0.3, 0, 1)
    return np.maximum(np.maximum(trunk * under * belly, neck), arm)


def airway_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Air of the trachea and the main bronchi (a thickness)."""
    place = np.linspace(0, 1, 16)
    lean = 0.03 * anatomy.rotation
    trachea = (lean + 0.018 * place, -0.45 + 0.83 * place, np.full(16, 0.033), np.full(16, 0.17))
    right = (lean + 0.015 - 0.13 * place, 0.37 + 0.12 * place, 0.026 - 0.008 * place, 0.13 * (1 - 0.5 * place))
    left = (lean + 0.02 + 0.15 * place, 0.37 + 0.13 * place, 0.024 - 0.008 * place, 0.12 * (1 - 0.6 * place))
    x, y, radius, weight = (np.stack(part) for part in zip(trachea, right, left, strict=True))
    return tube_field(frame, Tubes(x, y, radius, weight))


def vessel_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Attenuation of hila and pulmonary vessels: two generations of branches that fan out of each hilum."""
    draws = Draws(anatomy.stream, Stream.ANATOMY).generator
    stems = [_stems(draws, anatomy, side) for side in SIDES]
    trunk = Tubes(*(np.concatenate(part) for part in zip(*stems, strict=True)))
    twigs = _branches(draws, trunk, per_parent=5, spread=0.75, length=0.42, thickness=0.55)
    ends = _branches(draws, twigs, per_parent=3, spread=0.7, length=0.5, thickness=0.6)
    parts = (trunk, twigs, ends)
    field = tube_field(frame, trunk)
    for part in parts[1:]:
        field += tube_field(frame, part)
    return field * anatomy.vessel + _hila(anatomy, frame)


def _stems(draws: np.random.Generator, anatomy: Anatomy, side: int) -> tuple[Field, Field, Field, Field]:
    count, points = 11, 24
    unit = draws.random((4, count, 1))
    place = np.linspace(0, 1, points)
    down = np.linspace(-1.25, 1.42, count)[:, None] + 0.22 * (unit[0] - 0.5)
    reach = (0.34 + 0.16 * unit[1]) * (0.85 + 0.35 * (np.abs(down) > 0.6))
    bend = 0.35 * (unit[2] - 0.5) + 0.12 * np.sign(down)
    angle = down + bend * place
    step = reach / (points - 1)
    x = 0.145 + 0.03 * unit[3] + np.cumsum(np.cos(angle) * step, axis=1)
    y = 0.44 + 0.025 * side + 0.10 * np.tanh(down) + np.cumsum(np.sin(angle) * step, axis=1)
    thickness = (0.0105 + 0.006 * (down > 0.3)) * (0.8 + 0.4 * unit[2])
    radius = thickness * (1 - 0.72 * place)
    return side * x + 0.03 * anatomy.rotation, y, radius, radius * 7.5


def _branches(
    draws: np.random.Generator, parents: Tubes, *, per_parent: int, spread: float, length: float, thickness: float
) -> Tubes:
    count, points = parents.x.shape[0] * per_parent, 16
    unit = draws.random((4, count))
    row = np.repeat(np.arange(parents.x.shape[0]), per_parent)
    last = parents.x.shape[1] - 1
    at = (last * (0.22 + 0.70 * unit[0])).astype(np.int64)
    ahead = np.minimum(at + 2, last)
    heading = np.arctan2(
        parents.y[row, ahead] - parents.y[row, ahead - 2], parents.x[row, ahead] - parents.x[row, ahead - 2]
    )
    parent_length = np.hypot(np.diff(parents.x, axis=1), np.diff(parents.y, axis=1)).sum(axis=1)[row]
    turn = spread * (0.45 + 0.55 * unit[1]) * np.where(unit[2] < 0.5, -1, 1)
    place = np.linspace(0, 1, points)
    angle = (heading + turn)[:, None] - 0.5 * turn[:, None] * place
    step = (parent_length * length * (0.6 + 0.8 * unit[3]) / (points - 1))[:, None]
    x = parents.x[row, at][:, None] + np.cumsum(np.cos(angle) * step, axis=1)
    y = parents.y[row, at][:, None] + np.cumsum(np.sin(angle) * step, axis=1)
    radius = (parents.radius[row, at] * thickness)[:, None] * (1 - 0.65 * place)
    return Tubes(x, y, radius, radius * 7.5)


def _hila(anatomy: Anatomy, frame: FilmFrame) -> Field:
    x, y = frame.grid
    shift = 0.03 * anatomy.rotation
    total = np.zeros_like(x)
    for side, height in ((-1, 0.47), (1, 0.42)):
        across = (side * (x - shift) - 0.165) / 0.055
        total += 0.075 * np.exp(-(across**2) - ((y - height) / 0.10) ** 2)
        total += 0.045 * np.exp(-(((side * (x - shift) - 0.20) / 0.022) ** 2) - ((y - height - 0.10) / 0.09) ** 2)
    return total


def breast_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Soft tissue of the breasts (a thickness): fades upwards, ends in an arc below."""
    x, y = frame.grid
    total = np.zeros_like(x)
    if anatomy.breast == 0:
        return total
    size = 0.20 + 0.10 * anatomy.breast
    for side in SIDES:
        u = (side * x - 0.36 - 0.05 * anatomy.breast) / (size * 1.12)
        v = (y - anatomy.breast_height) / size
        v = np.where(v < 0, v * 0.55, v)
        total += np.sqrt(np.clip(1 - u**2 - v**2, 0, None)) * (0.10 + 0.12 * anatomy.breast)
    return total


def bubble_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Air of the stomach under the left dome (a thickness)."""
    x, y = frame.grid
    size = 0.05 + 0.10 * anatomy.bubble
    top = anatomy.dome_left + 0.055
    u = (x - 0.27) / (size * 1.45)
    v = (y - top - size * 0.7) / (size * 0.75)
    v = np.where(v > 0, v * 1.5, v)
    return 0.32 * np.sqrt(np.clip(1 - u**2 - v**2, 0, None)) * float(anatomy.bubble > 0.25)


def lung_texture(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Fine marking of the lungs: smoothed random numbers of unit spread, drawn on the film's own grid."""
    draws = Draws(anatomy.stream, Stream.ANATOMY, 1).generator
    rough = gaussian_filter(draws.random((frame.height, frame.width)) - 0.5, 0.007 * frame.scale)
    return np.asarray(rough / max(float(rough.std()), 1e-9))
