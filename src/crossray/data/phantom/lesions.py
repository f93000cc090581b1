"""How findings look and where they are: each function draws one side of one finding and cuts its mask.

A mask is the set of pixels where the finding's own layer stands above a stated share of its peak, so that mask
and drawing cannot drift apart. ``side`` is -1 for the patient's right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from crossray.data.phantom import bones
from crossray.data.phantom.case import Finding, Kind, Size
from crossray.data.phantom.devices import device_layer
from crossray.data.phantom.frame import Field, Tubes, tube_field
from crossray.data.phantom.scene import Scene

Mask = NDArray[np.bool_]

_ZONE_HEIGHT: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"upper": (0.14, 0.32), "mid": (0.40, 0.60), "lower": (0.70, 0.88)}
)


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


def draw(finding: Finding, side: int, scene: Scene) -> Effect:
    """One side of a finding on a film."""
    return _DRAWERS[finding.kind](finding, side, scene)


def heart_scale(findings: tuple[Finding, ...]) -> float:
    """How much the heart is enlarged: 1 without cardiomegaly."""
    grown = [f for f in findings if f.kind == "cardiomegaly"]
    if not grown:
        return 1.0
    step = (0.34, 0.52, 0.74)[_grade(grown[0].size)] + 0.08 * grown[0].shape[0]
    return float(1.0 + step * min(grown[0].contrast, 1.0) ** 0.4)


def rib_break(finding: Finding, side: int) -> bones.RibBreak:
    """The break in a rib that a fracture is drawn as."""
    a, b, c, d = finding.shape[:4]
    step = (0.020 + 0.012 * _grade(finding.size) + 0.008 * c) * finding.contrast
    return bones.RibBreak(side, 3 + int(a * 5), 0.85 + 0.95 * b, step if d < 0.5 else -step, 0.045)


def _grade(size: Size) -> int:
    return ("small", "moderate", "large").index(size)


def _numbers(finding: Finding, side: int) -> tuple[float, ...]:
    """The finding's numbers, another order for the second side: its two sides are no mirror images."""
    return finding.shape if side <= 0 else (*finding.shape[5:], *finding.shape[:5])


def _ramp(values: Field) -> Field:
    clipped = np.clip(values, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def _cloud(x: Field, y: Field, numbers: tuple[float, ...], grain: float) -> Field:
    """Smooth random field of about unit spread: six plane waves whose directions follow from the numbers."""
    total = np.zeros_like(x)
    for index, number in enumerate(numbers[:6]):
        angle = np.pi * (index / 6 + number / 6)
        pitch = 2 * np.pi / grain * (0.6 + 0.9 * numbers[-1 - index])
        total += np.cos(pitch * (x * np.cos(angle) + y * np.sin(angle)) + 20 * number)
    return np.asarray(total / np.sqrt(3))


def _cardiomegaly(finding: Finding, side: int, scene: Scene) -> Effect:
    return Effect(mask=scene.heart_outline > 0.5)


def _effusion(finding: Finding, side: int, scene: Scene) -> Effect:
    numbers = _numbers(finding, side)
    x, y = scene.frame.grid
    level = (0.15, 0.36, 0.70)[_grade(finding.size)] * finding.extent * (0.9 + 0.2 * numbers[0])
    anatomy = scene.anatomy
    foot = (anatomy.dome_right if side < 0 else anatomy.dome_left) + 0.62 * anatomy.dome_curve + 0.02
    reach = np.clip(x * side / anatomy.cage, 0, 1)
    surface = foot - level * (0.50 + 0.50 * reach ** (3.0 + 2 * numbers[1]))
    depth = (y - surface) * (x * side > 0)
    opacity = _ramp(depth / (0.05 + 0.10 * level) + 0.35) * (x * side > 0)
    strength = min(0.98, 0.92 * finding.contrast**0.5)
    cavity = (scene.lungs.inside > 0.5) & (scene.lungs.wall * side > 0.12)
    filled = opacity * strength
    added = opacity * scene.lungs.inside * 0.10 * finding.contrast
    return Effect(mask=(opacity > 0.5) & cavity, opacity=filled, added=added, bare=opacity)


def _pneumothorax(finding: Finding, side: int, scene: Scene) -> Effect:
    numbers = _numbers(finding, side)
    x, y = scene.frame.grid
    share = (0.10, 0.19, 0.34)[_grade(finding.size)] * finding.extent * (0.9 + 0.2 * numbers[0])
    low_end = (0.70, 0.90, 1.25)[_grade(finding.size)] + 0.1 * numbers[1]
    # Air rises: the collapse is deepest at the apex and runs out at low_end.
    fall = np.clip((low_end - y) / 0.55, 0, 1)
    pull = np.clip(share * fall, 0, 0.6)
    inner_y = y - 0.8 * pull * np.clip(0.9 - y, 0, 1) + 0.012 * np.sin(9 * y + 6 * numbers[2])
    edge = scene.anatomy.half_width(inner_y) * (1 - pull) - np.abs(x)
    own = (x * side > 0) & (scene.lungs.inside > 0.5)
    outside = (edge < 0) & own & (pull > 0.004)
    # Only what the line bounds from outside is pneumothorax; medial of x = 0.12 the mediastinum begins.
    mask = outside & (np.abs(x) > 0.12)
    line = np.exp(-((edge / 0.009) ** 2)) * own * (pull > 0.02) * (np.abs(x) > 0.12)
    lung_side = np.clip(edge / 0.02, 0, 1) * own
    added = 0.10 * finding.contrast * line + (0.02 + 0.10 * share) * finding.contrast * lung_side * fall
    lucency = 0.10 * finding.contrast * mask
    return Effect(mask=mask, added=added - lucency, bare=mask * min(1.0, finding.contrast**0.3))


def _consolidation(finding: Finding, side: int, scene: Scene) -> Effect:
    numbers = _numbers(finding, side)
    x, y = scene.frame.grid
    low, high = _ZONE_HEIGHT[finding.zone]
    centre_y = low + (high - low) * numbers[0]
    centre_x = side * float(scene.anatomy.half_width(np.asarray(centre_y))) * (0.50 + 0.20 * numbers[1])
    radius = (0.10, 0.15, 0.22)[_grade(finding.size)] * finding.extent
    u, v = (x - centre_x) / radius, (y - centre_y) / (radius * (0.75 + 0.4 * numbers[2]))
    angle = np.arctan2(v, u)
    outline = 1 + sum(
        0.30 / wave * (numbers[wave] - 0.3) * np.cos(wave * angle + 6.3 * numbers[wave + 2]) for wave in (2, 3, 4, 5)
    )
    patch = outline - np.hypot(u, v)
    rough = _cloud(x, y, numbers, 0.11)
    layer = _ramp((patch + 0.12 * rough + 0.12) / 0.5) * scene.lung
    strength = min(0.95, 0.72 * finding.contrast)
    texture = np.clip(0.88 + 0.13 * rough, 0, 1)
    return Effect(mask=layer > 0.35, opacity=layer * strength * texture, bare=0.8 * layer * strength)


def _nodule(finding: Finding, side: int, scene: Scene) -> Effect:
    numbers = _numbers(finding, side)
    x, y = scene.frame.grid
    low, high = _ZONE_HEIGHT[finding.zone]
    radius = (0.026, 0.042, 0.075)[_grade(finding.size)] * finding.extent * (0.9 + 0.2 * numbers[2])
    centre_y = low + (high - low) * numbers[0]
    edge = float(scene.anatomy.half_width(np.asarray(centre_y)))
    centre_x = side * (0.26 + radius + (edge - 0.34 - 2 * radius) * numbers[1])
    u, v = (x - centre_x) / radius, (y - centre_y) / radius
    bumps = 0.07 * np.cos(3 * np.arctan2(v, u) + 6.3 * numbers[3]) + 0.05 * np.cos(5 * u + 4 * v)
    inside = np.clip((1 + bumps) ** 2 - u**2 - v**2, 0, None)
    layer = np.sqrt(inside)
    return Effect(mask=layer > 0.25, added=layer * (0.15 + 1.2 * radius) * finding.contrast)


def _atelectasis(finding: Finding, side: int, scene: Scene) -> Effect:
    numbers = _numbers(finding, side)
    x, y = scene.frame.grid
    count = 1 + _grade(finding.size)
    top = (0.48, 0.60) if finding.zone == "mid" else (0.80, 0.90)
    centre_y = top[0] + (top[1] - top[0]) * numbers[0]
    centre_x = side * (0.34 + 0.06 * numbers[1])
    length = (0.15, 0.19, 0.24)[_grade(finding.size)] * finding.extent
    tilt = side * (0.45 * numbers[2] - 0.15)
    place = np.linspace(-1, 1, 24)
    order = np.arange(count)[:, None] - (count - 1) / 2
    along = 0.5 * length * (0.8 + 0.3 * np.asarray(numbers[3 : 3 + count])[:, None]) * place
    across = 0.055 * order + 0.012 * np.cos(2 * place + 6 * numbers[6])
    line_x = centre_x + along * np.cos(tilt) - across * np.sin(tilt) + 0.03 * order
    line_y = centre_y + along * np.sin(tilt) + across * np.cos(tilt)
    radius = np.broadcast_to((0.010 + 0.005 * numbers[7]) * (1 - 0.6 * place**2), line_x.shape)
    plates = tube_field(scene.frame, Tubes(line_x, line_y, radius, np.full(line_x.shape, 0.20))) * scene.lung
    u = ((x - centre_x) * np.cos(tilt) + (y - centre_y) * np.sin(tilt)) / (0.60 * length)
    v = ((y - centre_y) * np.cos(tilt) - (x - centre_x) * np.sin(tilt)) / (0.035 + 0.032 * count)
    haze = np.exp(-((u**2 + v**2) ** 1.5)) * scene.lung
    return Effect(
        mask=haze > 0.3,
        opacity=0.22 * haze * finding.contrast,
        added=plates * finding.contrast,
    )


def _edema(finding: Finding, side: int, scene: Scene) -> Effect:
    numbers = _numbers(finding, side)
    x, y = scene.frame.grid
    grade = _grade(finding.size)
    wide, tall = 0.22 + 0.05 * grade, 0.30 + 0.05 * grade
    u, v = (side * x - 0.22) / (wide * finding.extent), (y - 0.55) / (tall * finding.extent)
    wing = np.exp(-((u**2 + v**2) ** 1.2)) * scene.lung
    rough = _cloud(x, y, numbers, 0.06)
    strength = (0.26, 0.38, 0.52)[grade] * finding.contrast
    opacity = np.clip(wing * strength * (1 + 0.28 * rough), 0, 0.9)
    own = (x * side > 0) * scene.lung
    return Effect(
        mask=wing > 0.35,
        opacity=opacity,
        added=_septal_lines(finding, side, scene, numbers) * scene.lung,
        wet=own * (0.25 + 0.2 * grade) * finding.contrast * np.exp(-(((y - 0.35) / 0.5) ** 2)),
    )


def _septal_lines(finding: Finding, side: int, scene: Scene, numbers: tuple[float, ...]) -> Field:
    """Kerley B lines: short, thin, level lines that touch the lower chest wall."""
    count = 5 + 2 * _grade(finding.size)
    height = 0.66 + 0.30 * (np.arange(count) + 0.5 * np.asarray((numbers * 2)[:count])) / count
    edge = scene.anatomy.half_width(height)
    place = np.linspace(0, 1, 8)
    x = side * (edge[:, None] - 0.012 - 0.06 * place)
    y = height[:, None] + 0.01 * place
    radius = np.full(x.shape, 0.004)
    return tube_field(scene.frame, Tubes(x, y, radius, np.full(x.shape, 0.06 * finding.contrast)))


def _device(finding: Finding, side: int, scene: Scene) -> Effect:
    layer = device_layer(finding, side, scene)
    return Effect(mask=layer > 0.3 * float(layer.max()), added=layer)


def _fracture(finding: Finding, side: int, scene: Scene) -> Effect:
    item = rib_break(finding, side)
    centre_x, centre_y = bones.rib_point(scene.anatomy, side, item.rib, item.turn)
    x, y = scene.frame.grid
    near = np.hypot(x - centre_x, y - centre_y - item.step * 0.5)
    return Effect(mask=near < 0.062 + abs(item.step) * 0.5)


_DRAWERS: Mapping[Kind, Callable[[Finding, int, Scene], Effect]] = MappingProxyType(
    {
        "cardiomegaly": _cardiomegaly,
        "effusion": _effusion,
        "pneumothorax": _pneumothorax,
        "consolidation": _consolidation,
        "nodule": _nodule,
        "atelectasis": _atelectasis,
        "edema": _edema,
        "device": _device,
        "fracture": _fracture,
    }
)
