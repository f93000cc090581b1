"""Fluid and air in the pleural space."""

from __future__ import annotations

import numpy as np

from crossray.data.phantom.case import Finding
from crossray.data.phantom.effect import Effect, grade, ramp, side_numbers
from crossray.data.phantom.scene import Scene


def draw_effusion(finding: Finding, side: int, scene: Scene) -> Effect:
    """Fluid that sinks to the foot of the pleural space and climbs at the chest wall."""
    numbers = side_numbers(finding, side)
    x, y = scene.frame.grid
    level = (0.15, 0.36, 0.70)[grade(finding.size)] * finding.extent * (0.9 + 0.2 * numbers[0])
    anatomy = scene.anatomy
    foot = (anatomy.dome_right if side < 0 else anatomy.dome_left) + 0.62 * anatomy.dome_curve + 0.02
    reach = np.clip(x * side / anatomy.cage, 0, 1)
    surface = foot - level * (0.50 + 0.50 * reach ** (3.0 + 2 * numbers[1]))
    depth = (y - surface) * (x * side > 0)
    opacity = ramp(depth / (0.05 + 0.10 * level) + 0.35) * (x * side > 0)
    strength = min(0.98, 0.92 * finding.contrast**0.5)
    # Where the heart lies in front, fluid shows nothing of itself.
    cavity = (scene.lungs.inside > 0.5) & (scene.lungs.depth - scene.air < 0.5 * scene.lungs.depth)
    filled = opacity * strength
    added = opacity * scene.lungs.inside * 0.10 * finding.contrast
    return Effect(mask=(opacity > 0.5) & cavity, opacity=filled, added=added, bare=opacity)


def draw_pneumothorax(finding: Finding, side: int, scene: Scene) -> Effect:
    """Air between wall and lung: no vessels, a thin line where the lung now ends."""
    numbers = side_numbers(finding, side)
    x, y = scene.frame.grid
    share = (0.10, 0.19, 0.34)[grade(finding.size)] * finding.extent * (0.9 + 0.2 * numbers[0])
    low_end = (0.70, 0.90, 1.25)[grade(finding.size)] + 0.1 * numbers[1]
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
