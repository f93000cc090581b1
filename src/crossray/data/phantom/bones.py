"""The skeleton of the phantom as tubes: ribs, clavicles, scapulae, humeri, and the spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from crossray.data.phantom.anatomy import SIDES, Anatomy
from crossray.data.phantom.frame import Field, FilmFrame, Tubes, tube_field

RIB_PAIRS = 10
_TURN = np.linspace(0.16, 2.62, 64)  # angle around the body: 0 at the spine, pi/2 at the side, pi at the sternum


@dataclass(frozen=True)
class _GirdlePart:
    """A bone of the shoulder girdle: points ``(x, y, half-width)``; how far it moves out with the scapula."""

    name: str
    weight: float
    follows_scapula: float
    points: tuple[tuple[float, float, float], ...]


_GIRDLE = (
    _GirdlePart(
        "clavicle",
        0.15,
        0.2,
        ((0.05, 0.17, 0.036), (0.22, 0.11, 0.024), (0.42, 0.03, 0.021), (0.62, -0.02, 0.021), (0.80, -0.03, 0.027)),
    ),
    _GirdlePart(
        "lateral border",
        0.12,
        0.8,
        ((0.80, 0.06, 0.034), (0.77, 0.18, 0.018), (0.72, 0.36, 0.010), (0.66, 0.62, 0.008)),
    ),
    _GirdlePart(
        "spine of the scapula",
        0.13,
        0.6,
        ((0.48, 0.10, 0.010), (0.62, 0.045, 0.014), (0.78, -0.015, 0.022), (0.90, -0.05, 0.026)),
    ),
    _GirdlePart(
        "medial border",
        0.06,
        0.9,
        ((0.54, 0.06, 0.010), (0.50, 0.22, 0.008), (0.54, 0.42, 0.008), (0.64, 0.60, 0.010)),
    ),
)
_HUMERUS = _GirdlePart(
    "humerus",
    0.20,
    0.7,
    ((0.92, 0.13, 0.06), (0.96, 0.26, 0.05), (0.99, 0.46, 0.042), (1.02, 0.76, 0.042)),
)


@dataclass(frozen=True)
class RibBreak:
    """A fracture: on which rib (0 is the first), at which angle around the body, the step as a length."""

    side: int
    rib: int
    turn: float
    step: float
    gap: float


def rib_lines(anatomy: Anatomy) -> tuple[Field, Field]:
    """Centre lines of the ribs ``x, y [2 * RIB_PAIRS, points]``: the right side's first, from the top down."""
    pair = np.arange(RIB_PAIRS)
    start = -0.035 + 0.108 * pair
    drop = anatomy.rib_drop * np.clip(0.46 + 0.12 * pair, 0, 1.05)
    reach = anatomy.half_width(start + 0.42 * drop) * 0.995
    descent = (1 - np.cos(_TURN)) / 2
    x = 0.03 + (reach[:, None] - 0.03) * np.sin(_TURN)
    y = start[:, None] + drop[:, None] * descent - 0.025 * np.sin(_TURN * 2).clip(0)
    return np.concatenate([-x, x]), np.concatenate([y, y])


def rib_tubes(anatomy: Anatomy, breaks: tuple[RibBreak, ...] = ()) -> Tubes:
    """The ribs; a break steps the outer part aside and leaves a dark gap."""
    x, y = rib_lines(anatomy)
    ahead = np.clip((_TURN - 1.45) / 0.7, 0, 1)
    radius = np.broadcast_to(anatomy.rib_radius * (1 + 0.22 * ahead), x.shape).copy()
    ends = np.clip((_TURN - 0.16) / 0.35, 0, 1) * np.clip((2.62 - _TURN) / 0.45, 0, 1)
    weight = np.broadcast_to(anatomy.rib_density * 0.155 * (1 - 0.5 * ahead) * ends, x.shape).copy()
    weight[[0, RIB_PAIRS]] *= 0.8
    for item in breaks:
        row = rib_row(item.side, item.rib)
        outer = item.turn < _TURN
        y[row] = y[row] + np.where(outer, item.step * np.exp(-(_TURN - item.turn) / 0.30), 0)
        weight[row] *= 1 - np.exp(-(((_TURN - item.turn) / item.gap) ** 2))
    return Tubes(x, y, radius, weight)


def rib_row(side: int, rib: int) -> int:
    """Row of a rib in :func:`rib_lines`."""
    return rib if side < 0 else RIB_PAIRS + rib


def rib_point(anatomy: Anatomy, side: int, rib: int, turn: float) -> tuple[float, float]:
    """The point of a rib's centre line at an angle around the body."""
    x, y = rib_lines(anatomy)
    row = rib_row(side, rib)
    return float(np.interp(turn, _TURN, x[row])), float(np.interp(turn, _TURN, y[row]))


def girdle_tubes(anatomy: Anatomy) -> Tubes:
    """Clavicles and scapulae of both sides."""
    return _both_sides(anatomy, _GIRDLE)


def _both_sides(anatomy: Anatomy, parts: tuple[_GirdlePart, ...]) -> Tubes:
    curves = [_side_tube(anatomy, side, part) for side in SIDES for part in parts]
    x, y, radius, weight = (np.stack(part) for part in zip(*curves, strict=True))
    return Tubes(x, y, radius, weight)


def _side_tube(anatomy: Anatomy, side: int, part: _GirdlePart) -> tuple[Field, Field, Field, Field]:
    place = np.linspace(0, len(part.points) - 1, 32)
    knots = np.arange(len(part.points))
    lines = (np.interp(place, knots, values) for values in zip(*part.points, strict=True))
    x, y, radius = (gaussian_filter1d(line, 2.5, mode="nearest") for line in lines)
    x = x + part.follows_scapula * anatomy.scapula
    lift = anatomy.clavicle_height * (1 - 0.5 * place / place[-1])
    if part.name == "clavicle":
        x = x + 0.025 * side * anatomy.rotation * (1 - place / place[-1])
    ends = np.sqrt(np.clip(np.minimum(place, place[-1] - place) / 0.3, 0, 1))
    return side * x, y + lift, radius * (0.6 + 0.4 * ends), part.weight * ends


def spine_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Attenuation of the spine: vertebral bodies with bright end plates, pedicles and spinous processes."""
    window = frame.window(-0.13, -0.6, 0.13, 1.8)
    x, y = (values[window] for values in frame.grid)
    u = (x - anatomy.midline(y)) / (0.078 + 0.014 * np.clip(y, 0, 1))
    square = u * u
    column = np.sqrt(np.clip(1 - square * square, 0, None))
    height = 0.092 + 0.022 * np.clip(y, -0.3, 1.4)
    phase = (y / height) % 1.0 - 0.5
    away = 0.5 - np.abs(phase)
    disc = np.exp(-((away / 0.10) ** 2))
    plate = np.exp(-(((away - 0.13) / 0.06) ** 2))
    pedicle = np.exp(-(((np.abs(u) - 0.60) / 0.16) ** 2) - ((phase + 0.15) / 0.20) ** 2)
    process = np.exp(-((u / 0.14) ** 2) - ((phase - 0.22) / 0.24) ** 2)
    total = np.zeros((frame.height, frame.width))
    total[window] = column * (0.105 - 0.03 * disc + 0.016 * plate + 0.03 * pedicle + 0.035 * process)
    return total


def _humeral_heads(anatomy: Anatomy, frame: FilmFrame) -> Field:
    total = np.zeros((frame.height, frame.width))
    for side in SIDES:
        centre, radius = side * (0.885 + 0.7 * anatomy.scapula), 0.085
        window = frame.window(centre - radius, -0.05, centre + radius, 0.17)
        x, y = (values[window] for values in frame.grid)
        square = ((x - centre) ** 2 + (y - 0.06 - anatomy.clavicle_height) ** 2) / radius**2
        total[window] += 0.14 * np.sqrt(np.clip(1 - square * square, 0, None))
    return total


def skeleton_field(anatomy: Anatomy, frame: FilmFrame, breaks: tuple[RibBreak, ...] = ()) -> Field:
    """Attenuation of all bones."""
    ribs = tube_field(frame, rib_tubes(anatomy, breaks), "cortical")
    girdle = tube_field(frame, girdle_tubes(anatomy), "cortical")
    arms = tube_field(frame, _both_sides(anatomy, (_HUMERUS,)), "cortical") + _humeral_heads(anatomy, frame)
    return ribs + girdle + arms + spine_field(anatomy, frame)
