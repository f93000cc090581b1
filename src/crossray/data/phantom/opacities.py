"""What makes the lung white: consolidation, nodules, atelectasis, edema."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from crossray.data.phantom.case import Finding
from crossray.data.phantom.effect import Effect, cloud, displaced_air, grade, patch_around, ramp, side_numbers
from crossray.data.phantom.frame import Field, Tubes, tube_field
from crossray.data.phantom.scene import Scene

_ZONE_HEIGHT: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"upper": (0.14, 0.32), "mid": (0.40, 0.60), "lower": (0.70, 0.88)}
)


def draw_consolidation(finding: Finding, side: int, scene: Scene) -> Effect:
    """A patch of lung filled with something other than air."""
    numbers = side_numbers(finding, side)
    low, high = _ZONE_HEIGHT[finding.zone]
    centre_y = low + (high - low) * numbers[0]
    centre_x = side * float(scene.anatomy.half_width(np.asarray(centre_y))) * (0.50 + 0.20 * numbers[1])
    radius = (0.10, 0.15, 0.22)[grade(finding.size)] * finding.extent
    patch = patch_around(scene, centre_x, centre_y, 1.8 * radius, 2.0 * radius)
    u, v = (patch.x - centre_x) / radius, (patch.y - centre_y) / (radius * (0.75 + 0.4 * numbers[2]))
    angle = np.arctan2(v, u)
    outline = 1 + sum(
        0.22 / wave * (numbers[wave] - 0.3) * np.cos(wave * angle + 6.3 * numbers[wave + 2]) for wave in (2, 3, 4, 5)
    )
    depth = outline - np.hypot(u, v)
    rough = cloud(patch.x, patch.y, numbers, 0.22)
    layer = patch.whole(ramp((depth + 0.11 * rough + 0.2) / 0.95) * patch.of(scene.lung))
    strength = min(0.95, 0.72 * finding.contrast)
    texture = patch.whole(np.clip(0.88 + 0.10 * rough, 0, 1))
    return Effect(mask=layer > 0.35, opacity=layer * strength * texture, bare=0.8 * layer * strength)


def draw_nodule(finding: Finding, side: int, scene: Scene) -> Effect:
    """A round lesion."""
    numbers = side_numbers(finding, side)
    low, high = _ZONE_HEIGHT[finding.zone]
    radius = (0.026, 0.042, 0.075)[grade(finding.size)] * finding.extent * (0.9 + 0.2 * numbers[2])
    centre_y = low + (high - low) * numbers[0]
    inner = max(0.24, scene.heart_edge(side, centre_y) + 0.02) + 0.8 * radius
    outer = float(scene.anatomy.half_width(np.asarray(centre_y))) - 0.04 - radius
    centre_x = side * (inner + max(outer - inner, 0.0) * numbers[1])
    patch = patch_around(scene, centre_x, centre_y, 1.4 * radius, 1.4 * radius)
    u, v = (patch.x - centre_x) / radius, (patch.y - centre_y) / radius
    bumps = 0.07 * np.cos(3 * np.arctan2(v, u) + 6.3 * numbers[3]) + 0.05 * np.cos(5 * u + 4 * v)
    inside = np.clip((1 + bumps) ** 2 - u**2 - v**2, 0, None)
    layer = patch.whole(np.sqrt(inside))
    tissue = layer * (0.15 + 1.2 * radius) * finding.contrast
    return Effect(mask=layer > 0.25, opacity=displaced_air(tissue, scene))


def draw_atelectasis(finding: Finding, side: int, scene: Scene) -> Effect:
    """Plates of collapsed lung in a faint haze."""
    numbers = side_numbers(finding, side)
    x, y = scene.frame.grid
    count = 1 + grade(finding.size)
    top = (0.48, 0.60) if finding.zone == "mid" else (0.80, 0.90)
    centre_y = top[0] + (top[1] - top[0]) * numbers[0]
    # Beside the heart, however large it is, and short of the chest wall.
    room = float(scene.anatomy.half_width(np.asarray(centre_y))) - 0.12
    beside = max(0.34, scene.heart_edge(side, centre_y) + 0.05)
    centre_x = side * min(beside + 0.06 * numbers[1], room)
    length = (0.15, 0.19, 0.24)[grade(finding.size)] * finding.extent
    tilt = side * (0.45 * numbers[2] - 0.15)
    place = np.linspace(-1, 1, 24)
    order = np.arange(count)[:, None] - (count - 1) / 2
    along = 0.5 * length * (0.8 + 0.3 * np.asarray(numbers[3 : 3 + count])[:, None]) * place
    across = 0.055 * order * (1 + 0.35 * place * (numbers[8] - 0.2)) + 0.008 * np.cos(2 * place + 6 * numbers[6])
    line_x = centre_x + along * np.cos(tilt) - across * np.sin(tilt) + 0.03 * order
    line_y = centre_y + along * np.sin(tilt) + across * np.cos(tilt)
    radius = np.broadcast_to((0.013 + 0.006 * numbers[7]) * (1.1 - place**2), line_x.shape)
    weight = np.broadcast_to(0.14 * (1 - 0.8 * place**2), line_x.shape)
    plates = tube_field(scene.frame, Tubes(line_x, line_y, radius, weight)) * scene.lung
    u = ((x - centre_x) * np.cos(tilt) + (y - centre_y) * np.sin(tilt)) / (0.60 * length)
    v = ((y - centre_y) * np.cos(tilt) - (x - centre_x) * np.sin(tilt)) / (0.035 + 0.032 * count)
    haze = np.exp(-((u**2 + v**2) ** 1.5)) * scene.lung
    return Effect(
        mask=haze > 0.3,
        opacity=np.clip(0.30 * haze * finding.contrast + displaced_air(plates * finding.contrast, scene), 0, 0.95),
    )


def draw_edema(finding: Finding, side: int, scene: Scene) -> Effect:
    """Haze around the hila, thick vessels and septal lines."""
    numbers = side_numbers(finding, side)
    x, y = scene.frame.grid
    step = grade(finding.size)
    wide, tall = 0.22 + 0.05 * step, 0.30 + 0.05 * step
    u, v = (side * x - 0.22) / (wide * finding.extent), (y - 0.55) / (tall * finding.extent)
    wing = np.exp(-((u**2 + v**2) ** 1.2)) * scene.lung
    patch = patch_around(scene, side * 0.35, 0.55, 0.35, 0.6)
    rough = patch.whole(cloud(patch.x, patch.y, numbers, 0.09))
    strength = (0.26, 0.38, 0.52)[step] * finding.contrast
    opacity = np.clip(wing * strength * (1 + 0.10 * rough), 0, 0.9)
    own = (x * side > 0) * scene.lung
    return Effect(
        mask=wing > 0.35,
        opacity=opacity,
        added=_septal_lines(finding, side, scene, numbers) * scene.lung,
        wet=own * (0.25 + 0.2 * step) * finding.contrast * np.exp(-(((y - 0.35) / 0.5) ** 2)),
    )


def _septal_lines(finding: Finding, side: int, scene: Scene, numbers: tuple[float, ...]) -> Field:
    """Kerley B lines: short, thin, level lines that touch the lower chest wall."""
    count = 5 + 2 * grade(finding.size)
    height = 0.66 + 0.30 * (np.arange(count) + 0.5 * np.asarray((numbers * 2)[:count])) / count
    edge = scene.anatomy.half_width(height)
    place = np.linspace(0, 1, 8)
    x = side * (edge[:, None] - 0.012 - 0.06 * place)
    y = height[:, None] + 0.01 * place
    radius = np.full(x.shape, 0.004)
    return tube_field(scene.frame, Tubes(x, y, radius, np.full(x.shape, 0.06 * finding.contrast)))
