"""The skeleton of the phantom as tubes: ribs, clavicles, scapulae, humeri, and the spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossray.data.phantom.anatomy import SIDES, Anatomy
from crossray.data.phantom.frame import Field, FilmFrame, Tubes, tube_field

RIB_PAIRS = 10
_TURN = np.linspace(0.16, 2.62, 64)  # angle around the body: 0 at the spine, pi/2 at the side, pi at the sternum


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
    start = -0.055 + 0.112 * pair
    drop = anatomy.rib_drop * np.clip(0.52 + 0.12 * pair, 0, 1.05)
    reach = anatomy.half_width(start + 0.42 * drop) * 1.015
    reach[0] *= 1.12
    descent = (1 - np.cos(_TURN)) / 2
    x = 0.025 + (reach[:, None] - 0.025) * np.sin(_TURN)
    y = start[:, None] + drop[:, None] * descent - 0.022 * np.sin(_TURN * 2).clip(0)
    return np.concatenate([-x, x]), np.concatenate([y, y])


def rib_tubes(anatomy: Anatomy, breaks: tuple[RibBreak, ...] = ()) -> Tubes:
    """The ribs; a break steps the outer part aside and leaves a dark gap."""
    x, y = rib_lines(anatomy)
    ahead = np.clip((_TURN - 1.5) / 0.9, 0, 1)
    shape = np.where(_TURN < 1.5, 1.0, 1.0 + 0.18 * ahead)
    radius = np.broadcast_to(anatomy.rib_radius * shape, x.shape).copy()
    radius[[0, RIB_PAIRS]] *= 1.15
    fade = np.clip((2.62 - _TURN) / 0.25, 0, 1)
    weight = np.broadcast_to(anatomy.rib_density * 0.17 * (1 - 0.42 * ahead) * fade, x.shape).copy()
    weight[:, :] *= np.clip(_TURN / 0.3, 0.5, 1)
    for item in breaks:
        row = rib_row(item.side, item.rib)
        outer = item.turn < _TURN
        y[row] = y[row] + np.where(outer, item.step * np.exp(-(_TURN - item.turn) / 0.35), 0)
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
    """Clavicles, the borders and spines of the scapulae, and the shafts of the humeri."""
    place = np.linspace(0, 1, 24)
    curves = []
    for side in SIDES:
        lift = anatomy.clavicle_height
        medial = 0.075 + 0.03 * side * anatomy.rotation
        x = medial + (0.80 - medial) * place
        y = 0.115 + lift - 0.10 * place - 0.05 * np.sin(place * np.pi * 1.1) + 0.035 * place**3
        curves.append((side * x, y, 0.026 - 0.008 * np.sin(place * np.pi), np.full(24, 0.19)))
        out = anatomy.scapula
        x = 0.74 + out - 0.10 * place + 0.03 * np.sin(place * np.pi)
        y = 0.06 + 0.50 * place
        curves.append((side * x, y, 0.020 - 0.006 * place, 0.13 * (1 - 0.3 * place)))
        x = 0.52 + (0.36 + out) * place
        y = 0.13 + lift - 0.14 * place
        curves.append((side * x, y, 0.016 + 0.016 * place, 0.10 + 0.03 * place))
        x = 0.93 + out * 0.5 + 0.10 * place * anatomy.arms
        y = 0.03 + 0.62 * place
        curves.append((side * x, y, 0.085 - 0.04 * np.minimum(place * 4, 1), np.full(24, 0.20)))
    x_all, y_all, radius, weight = (np.stack(part) for part in zip(*curves, strict=True))
    return Tubes(x_all, y_all, radius, weight)


def spine_field(anatomy: Anatomy, frame: FilmFrame) -> Field:
    """Attenuation of the spine: vertebral bodies with bright end plates, pedicles and spinous processes."""
    x, y = frame.grid
    u = (x - anatomy.midline(y)) / 0.088
    column = np.clip(1 - u**4, 0, None) ** 0.5
    height = 0.092 + 0.022 * np.clip(y, -0.3, 1.4)
    phase = (y / height) % 1.0 - 0.5
    disc = np.exp(-(((np.abs(phase) - 0.5) / 0.10) ** 2))
    plate = np.exp(-(((np.abs(phase) - 0.38) / 0.06) ** 2))
    pedicle = np.exp(-(((np.abs(u) - 0.58) / 0.17) ** 2) - ((phase + 0.15) / 0.20) ** 2)
    process = np.exp(-((u / 0.13) ** 2) - ((phase - 0.22) / 0.22) ** 2)
    body = column * (0.16 - 0.055 * disc + 0.035 * plate)
    return np.asarray(body + column * (0.05 * pedicle + 0.055 * process))


def skeleton_field(anatomy: Anatomy, frame: FilmFrame, breaks: tuple[RibBreak, ...] = ()) -> Field:
    """Attenuation of all bones."""
    ribs = tube_field(frame, rib_tubes(anatomy, breaks), "cortical")
    return ribs + tube_field(frame, girdle_tubes(anatomy), "cortical") + spine_field(anatomy, frame)
