"""Soft tissue, air and vessels of the phantom, as thicknesses along the ray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from crossray.data.phantom.anatomy import SIDES, Anatomy, at_heights
from crossray.data.phantom.draws import Draws, Stream
from crossray.data.phantom.frame import Field, FilmFrame, Tubes, from_coarse, tube_field

HEART_TOP, HEART_BOTTOM = 0.45, 1.08


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
    half_width = np.maximum(anatomy.half_width(y), 1e-3)
    wall = x / half_width
    above = anatomy.dome(x) - y
    below_apex = y - anatomy.apex(x)
    soft = 1.4 / frame.scale
    sideways = np.clip((half_width - np.abs(x)) / soft, 0, 1) * np.clip(below_apex / soft, 0, 1)
    over_dome = np.clip(above / soft + 0.5, 0, 1)
    inside = sideways * over_dome
    square = wall * wall
    cross = np.sqrt(np.clip(1 - square * np.sqrt(np.abs(wall)), 0, None))
    upper = np.sqrt(np.clip((below_apex + 0.02) / 0.42, 0, 1))
    recess = 0.10 * np.exp(-np.clip(-above, 0, None) / 0.05) * (1 - over_dome)
    front = np.sqrt(np.sqrt(np.clip(above / 0.16, 0, 1)))
    depth = sideways * cross * (upper * over_dome * (0.42 + 0.30 * front) + recess)
    return Lungs(inside, depth, wall, above)


def heart_thickness(anatomy: Anatomy, frame: FilmFrame, heart_ratio: float) -> tuple[Field, Field]:
    """``(thickness, heart)``: soft tissue of heart and mediastinum; 1 inside the heart's own outline."""
    x, y = frame.grid
    right_table, left_table = anatomy.silhouette(heart_ratio)
    right, left = at_heights(right_table, y), at_heights(left_table, y)
    across = (2 * x - right - left) / (left - right)
    chord = np.sqrt(np.clip(1 - across * across * np.abs(across), 0, None))
    depth = 0.37 + 0.08 * np.clip(y / 0.2, 0, 1) + 0.15 * np.clip((y - 0.40) / 0.35, 0, 1)
    heart = (np.abs(across) < 1) & (y > HEART_TOP) & (y < HEART_BOTTOM)
    return chord * depth, heart.astype(np.float64)


def body_thickness(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Soft tissue of trunk, shoulders, neck and arms, as if there were no air in it."""
    x, y = frame.coarse().grid
    reach = np.abs(x)
    flank = anatomy.cage + anatomy.girth * (0.75 + 0.25 * np.clip(y - 0.7, 0, None))
    axilla = 0.40 * np.exp(-np.clip(y - 0.02, 0, None) / 0.28)
    across = reach / (flank + axilla)
    trunk = np.sqrt(np.clip(1 - across * across * across, 0, None))
    slope = anatomy.shoulder + 0.10 * reach - 0.02 - 0.33 * np.exp((0.2 - reach) / 0.30)
    under = np.sqrt(np.clip((y - slope) / 0.34, 0, 1))
    throat = 0.22 + 0.55 * np.square(np.clip(y + 0.36, 0, 1))
    neck = 0.62 * np.sqrt(np.clip(1 - np.square(reach / throat), 0, None)) * np.clip(0.5 - y, 0, 1)
    belly = 1 + 0.18 * np.clip(y - 0.95, 0, 0.4) / 0.4
    arm_axis = 0.98 + 0.10 * anatomy.arms * np.clip(y, 0, 1) + 0.05 * anatomy.scapula
    arm = 0.55 * np.sqrt(np.clip(1 - np.square((reach - arm_axis) / 0.15), 0, None)) * np.clip((y + 0.05) / 0.3, 0, 1)
    return from_coarse(np.maximum(np.maximum(trunk * under * belly, neck), arm), frame)


def airway_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Air of the trachea and the main bronchi (a thickness)."""
    place = np.linspace(0, 1, 16)
    start = np.clip(place * 4, 0, 1)
    lean = 0.03 * anatomy.rotation
    trachea = (lean + 0.018 * place, -0.45 + 0.83 * place, np.full(16, 0.034), np.full(16, 0.19))
    right = (lean + 0.015 - 0.13 * place, 0.37 + 0.12 * place, 0.026 - 0.008 * place, 0.13 * start * (1 - 0.5 * place))
    left = (lean + 0.02 + 0.15 * place, 0.37 + 0.13 * place, 0.024 - 0.008 * place, 0.12 * start * (1 - 0.6 * place))
    x, y, radius, weight = (np.stack(part) for part in zip(trachea, right, left, strict=True))
    return tube_field(frame, Tubes(x, y, radius, weight))


def vessel_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Attenuation of hila and pulmonary vessels: two generations of branches that fan out of each hilum."""
    draws = Draws(anatomy.stream, Stream.ANATOMY).generator
    stems = [_stems(draws, anatomy, side) for side in SIDES]
    trunk = Tubes(*(np.concatenate(part) for part in zip(*stems, strict=True)))
    twigs = _branches(draws, trunk, per_parent=4, spread=0.8, length=0.42, thickness=0.6)
    ends = _branches(draws, twigs, per_parent=3, spread=0.7, length=0.5, thickness=0.6)
    parts = (trunk, twigs, ends)
    field = tube_field(frame, trunk)
    for part in parts[1:]:
        field += tube_field(frame, part)
    return field * anatomy.vessel + _hila(anatomy, frame)


def _stems(draws: np.random.Generator, anatomy: Anatomy, side: int) -> tuple[Field, Field, Field, Field]:
    count, points = 14, 24
    unit = draws.random((4, count, 1))
    place = np.linspace(0, 1, points)
    down = np.linspace(-1.3, 1.45, count)[:, None] + 0.3 * (unit[0] - 0.5)
    reach = (0.36 + 0.18 * unit[1]) * (0.85 + 0.35 * (np.abs(down) > 0.6))
    # Branches leave the hilum steeply, then bend outwards, and waver on their way.
    bend = -0.45 * np.sin(down) * (0.4 + unit[2]) * place
    waver = 0.28 * np.sin(place * (5 + 5 * unit[3]) + 6.3 * unit[1])
    angle = down * 1.12 + bend + waver
    step = reach / (points - 1)
    x = 0.10 + 0.05 * unit[3] + np.cumsum(np.cos(angle) * step, axis=1)
    y = 0.43 - 0.025 * side + 0.09 * np.tanh(down) + np.cumsum(np.sin(angle) * step, axis=1)
    thickness = (0.0095 + 0.005 * (down > 0.3)) * (0.75 + 0.5 * unit[2])
    radius = thickness * (1 - 0.75 * place)
    start = np.clip(place / 0.18, 0, 1)
    return side * x + 0.03 * anatomy.rotation, y, radius, radius * 6.0 * start


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
    angle = (heading + turn)[:, None] - 0.6 * turn[:, None] * place + 0.3 * np.sin(6 * place + 6.3 * unit[3][:, None])
    step = (parent_length * length * (0.6 + 0.8 * unit[3]) / (points - 1))[:, None]
    x = parents.x[row, at][:, None] + np.cumsum(np.cos(angle) * step, axis=1)
    y = parents.y[row, at][:, None] + np.cumsum(np.sin(angle) * step, axis=1)
    radius = (parents.radius[row, at] * thickness)[:, None] * (1 - 0.65 * place)
    return Tubes(x, y, radius, radius * 6.0)


def _hila(anatomy: Anatomy, frame: FilmFrame) -> Field:
    shift = 0.03 * anatomy.rotation
    window = frame.window(-0.42, 0.05, 0.42, 0.9)
    x, y = (values[window] for values in frame.grid)
    reach = np.abs(x - shift)
    height = y - np.where(x < shift, 0.47, 0.42)
    root = 0.085 * np.exp(-(((reach - 0.165) / 0.055) ** 2) - (height / 0.10) ** 2)
    artery = 0.075 * np.exp(-(((reach - 0.205) / 0.024) ** 2) - ((height - 0.10) / 0.09) ** 2)
    total = np.zeros((frame.height, frame.width))
    total[window] = root + artery
    return total


def breast_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Soft tissue of the breasts (a thickness): fades upwards, ends in an arc below."""
    total = np.zeros((frame.height, frame.width))
    if anatomy.breast == 0:
        return total
    size = 0.22 + 0.11 * anatomy.breast
    for side in SIDES:
        centre = side * (0.38 + 0.06 * anatomy.breast)
        top, bottom = anatomy.breast_height - 2 * size, anatomy.breast_height + size
        window = frame.window(centre - 1.2 * size, top, centre + 1.2 * size, bottom)
        x, y = (values[window] for values in frame.grid)
        u = (x - centre) / (size * 1.12)
        v = (y - anatomy.breast_height) / size
        v = np.where(v < 0, v * 0.55, v)
        total[window] += np.sqrt(np.clip(1 - u * u - v * v, 0, None)) * (0.10 + 0.14 * anatomy.breast)
    return total


def bubble_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Air of the stomach under the left dome (a thickness)."""
    total = np.zeros((frame.height, frame.width))
    if anatomy.bubble < 0.4:
        return total
    size = 0.03 + 0.11 * anatomy.bubble
    window = frame.window(anatomy.bubble_x - 2 * size, 0.9, anatomy.bubble_x + 2 * size, 1.5)
    x, y = (values[window] for values in frame.grid)
    u = (x - anatomy.bubble_x) / (size * (1.0 + 0.6 * anatomy.arms))
    v = (y - anatomy.dome(x) - 0.045 - size * 0.6) / (size * 0.7)
    v = np.where(v > 0, v * (1.7 + 0.5 * anatomy.arms), v) + 0.12 * np.sin(3 * u + 9 * anatomy.bubble)
    total[window] = np.sqrt(np.clip(1 - u * u - v * v, 0, None)) * (1.9 * size)
    return total


def lung_texture(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Fine marking of the lungs: smoothed random numbers of unit spread, drawn on the film's own grid."""
    draws = Draws(anatomy.stream, Stream.ANATOMY, 1).generator
    rough = gaussian_filter(draws.random((frame.height, frame.width)) - 0.5, 0.007 * frame.scale)
    return np.asarray(rough / max(float(rough.std()), 1e-9))
