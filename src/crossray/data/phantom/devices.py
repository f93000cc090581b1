"""Tubes, lines and pacemakers: courses through anatomical points, and the metal they put on the film."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from scipy.ndimage import gaussian_filter1d

from crossray.data.phantom.case import Distractor, Finding
from crossray.data.phantom.frame import Field, Tubes, tube_field
from crossray.data.phantom.scene import Scene

_Points = tuple[tuple[float, float], ...]
_Course = tuple[float, float, _Points]  # half-width, attenuation, points

# Tips of venous lines lie in the superior vena cava, on the patient's right (negative x) whatever the side of entry.
_MIDLINE: Mapping[str, _Course] = MappingProxyType(
    {
        "endotracheal_tube": (0.018, 0.42, ((0.0, -0.55), (0.004, -0.2), (0.01, 0.05), (0.012, 0.24))),
        "enteric_tube": (
            0.011,
            0.32,
            ((0.01, -0.55), (0.02, 0.0), (0.0, 0.3), (0.02, 0.7), (0.06, 1.0), (0.15, 1.14), (0.27, 1.2)),
        ),
    }
)
_FROM_SIDE: Mapping[str, Mapping[int, _Course]] = MappingProxyType(
    {
        "central_line": {
            -1: (0.009, 0.30, ((-0.22, -0.45), (-0.17, -0.1), (-0.11, 0.1), (-0.09, 0.25), (-0.095, 0.46))),
            1: (0.009, 0.30, ((0.23, -0.45), (0.18, -0.08), (0.09, 0.08), (-0.03, 0.2), (-0.09, 0.3), (-0.1, 0.46))),
        },
        "picc": {
            -1: (0.007, 0.28, ((-1.05, 0.6), (-0.82, 0.2), (-0.55, 0.06), (-0.25, 0.07), (-0.1, 0.2), (-0.1, 0.5))),
            1: (0.007, 0.28, ((1.05, 0.6), (0.82, 0.2), (0.55, 0.06), (0.2, 0.09), (-0.04, 0.2), (-0.1, 0.5))),
        },
        "chest_tube": {
            side: (0.017, 0.34, ((side * 0.85, 0.85), (side * 0.6, 0.72), (side * 0.44, 0.5), (side * 0.34, 0.18)))
            for side in (-1, 1)
        },
        "pacemaker": {
            -1: (0.009, 0.36, ((-0.46, 0.14), (-0.3, 0.04), (-0.12, 0.16), (-0.12, 0.55), (-0.02, 0.85), (0.2, 0.93))),
            1: (
                0.009,
                0.36,
                ((0.46, 0.14), (0.3, 0.05), (0.08, 0.12), (-0.08, 0.24), (-0.12, 0.55), (-0.02, 0.85), (0.2, 0.93)),
            ),
        },
    }
)


def device_layer(finding: Finding, side: int, scene: Scene) -> Field:
    """Attenuation of a device on the film."""
    half_width, weight, points = _MIDLINE.get(finding.variant) or _FROM_SIDE[finding.variant][side]
    x, y = _course(points, finding.shape)
    strength = weight * (0.45 + 0.55 * finding.contrast)
    tubes = Tubes(x[None], y[None], np.full((1, x.size), half_width), np.full((1, x.size), strength))
    hollow = finding.variant in ("endotracheal_tube", "chest_tube")
    layer = tube_field(scene.frame, tubes, "cortical" if hollow else "solid")
    if finding.variant == "pacemaker":
        layer = np.maximum(layer, _generator(finding, side, scene))
    return layer


def _course(points: _Points, shape: tuple[float, ...]) -> tuple[Field, Field]:
    """A smooth line through slightly moved points."""
    knots = np.asarray(points)
    moved = knots + 0.045 * (np.resize(np.asarray(shape), knots.shape) - 0.5)
    moved[0] = knots[0]
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(moved, axis=0).T))])
    place = np.linspace(0, length[-1], 160)
    x, y = (gaussian_filter1d(np.interp(place, length, moved[:, axis]), 9, mode="nearest") for axis in (0, 1))
    return np.asarray(x), np.asarray(y)


def _generator(finding: Finding, side: int, scene: Scene) -> Field:
    x, y = scene.frame.grid
    u = (x - side * (0.47 + 0.05 * finding.shape[0])) / 0.085
    v = (y - 0.16 - 0.08 * finding.shape[1]) / 0.07
    distance = (np.abs(u) ** 3 + np.abs(v) ** 3) ** (1 / 3)
    solid = np.clip((1 - distance) / 0.10, 0, 1)
    relief = 0.75 + 0.15 * np.sin(7 * u) * np.cos(5 * v)
    return np.asarray(solid * relief * (0.45 + 0.55 * finding.contrast))


def distractor_layer(item: Distractor, scene: Scene) -> Field:
    """Attenuation of something harmless: a calcified granuloma, monitor leads, or nipple shadows."""
    x, y = scene.frame.grid
    a, b, c = item.shape[:3]
    if item.kind == "granuloma":
        centre_x, centre_y = item.side * (0.22 + 0.22 * a), 0.25 + 0.6 * b
        radius = 0.011 + 0.006 * c
        return 0.30 * np.sqrt(np.clip(1 - ((x - centre_x) ** 2 + (y - centre_y) ** 2) / radius**2, 0, None))
    if item.kind == "nipples":
        total = np.zeros_like(x)
        for side in (-1, 1):
            radius, centre_x, centre_y = 0.024, side * (0.34 + 0.05 * a), 0.80 + 0.12 * b
            total += 0.055 * np.exp(-((((x - centre_x) ** 2 + (y - centre_y) ** 2) / radius**2) ** 2))
        return total
    return _leads(item, scene)


def _leads(item: Distractor, scene: Scene) -> Field:
    x, y = scene.frame.grid
    total = np.zeros_like(x)
    spots = ((-0.46, 0.12, -1), (0.48, 0.14, 1), (0.44, 0.9, 1), (-0.40, 0.95, -1))
    for index, (near_x, near_y, side) in enumerate(spots):
        a, b, c = item.shape[index], item.shape[index + 4], item.shape[index + 8]
        if c < 0.3:
            continue
        spot_x, spot_y = near_x + 0.22 * (a - 0.5), near_y + 0.28 * (b - 0.5)
        total += 0.28 * (np.hypot(x - spot_x, y - spot_y) < 0.022)
        end_x, end_y = spot_x + side * (0.1 + 0.4 * c), 1.6 if near_y > 0.5 else 0.6 + 0.9 * a
        points = ((spot_x, spot_y), (spot_x + side * 0.2 * b, spot_y + 0.1 - 0.25 * c), (end_x, end_y))
        line_x, line_y = _course(points, item.shape)
        tubes = Tubes(line_x[None], line_y[None], np.full((1, 160), 0.006), np.full((1, 160), 0.14))
        total += tube_field(scene.frame, tubes)
    return total
