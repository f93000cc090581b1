"""How findings look and where they are: each is drawn side by side, and its mask is cut from what is drawn.

A mask is the set of pixels where the finding's own layer stands above a stated share of its peak, so that mask
and drawing cannot drift apart. ``side`` is -1 for the patient's right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from crossray.data.phantom import bones
from crossray.data.phantom.anatomy import Anatomy
from crossray.data.phantom.case import Finding, Kind
from crossray.data.phantom.devices import device_layer
from crossray.data.phantom.effect import Effect, grade
from crossray.data.phantom.opacities import draw_atelectasis, draw_consolidation, draw_edema, draw_nodule
from crossray.data.phantom.pleura import draw_effusion, draw_pneumothorax
from crossray.data.phantom.scene import Scene


def draw(finding: Finding, side: int, scene: Scene) -> Effect:
    """One side of a finding on a film."""
    return _DRAWERS[finding.kind](finding, side, scene)


def heart_ratio(findings: tuple[Finding, ...], anatomy: Anatomy) -> float:
    """The width of the heart over that of the cage: a healthy one is under a half, an enlarged one over."""
    grown = [f for f in findings if f.kind == "cardiomegaly"]
    if not grown:
        return anatomy.heart_ratio
    excess = (0.035, 0.085, 0.140)[grade(grown[0].size)] * min(grown[0].contrast, 1.0) ** 0.4
    return float(0.51 + excess + 0.02 * grown[0].shape[0])


def rib_break(finding: Finding, side: int) -> bones.RibBreak:
    """The break in a rib that a fracture is drawn as."""
    a, b, c, d = finding.shape[:4]
    step = (0.030 + 0.010 * grade(finding.size) + 0.006 * c) * (0.4 + 0.6 * finding.contrast)
    return bones.RibBreak(side, 3 + int(a * 5), 0.65 + 0.65 * b, step if d < 0.5 else -step, 0.05)


def _cardiomegaly(finding: Finding, side: int, scene: Scene) -> Effect:
    return Effect(mask=scene.heart_outline > 0.5)


def _device(finding: Finding, side: int, scene: Scene) -> Effect:
    layer = device_layer(finding, side, scene)
    return Effect(mask=layer > 0.3 * float(layer.max()), added=layer)


def _fracture(finding: Finding, side: int, scene: Scene) -> Effect:
    item = rib_break(finding, side)
    centre_x, centre_y = bones.rib_point(scene.anatomy, side, item.rib, item.turn)
    x, y = scene.frame.grid
    near = np.hypot(x - centre_x, y - centre_y - item.step * 0.5) / (0.055 + abs(item.step) * 0.5)
    # A bruise under the broken rib: what often gives it away.
    bruise = 0.05 * finding.contrast * np.exp(-((near / 0.75) ** 4))
    return Effect(mask=near < 1, added=bruise)


_DRAWERS: Mapping[Kind, Callable[[Finding, int, Scene], Effect]] = MappingProxyType(
    {
        "cardiomegaly": _cardiomegaly,
        "effusion": draw_effusion,
        "pneumothorax": draw_pneumothorax,
        "consolidation": draw_consolidation,
        "nodule": draw_nodule,
        "atelectasis": draw_atelectasis,
        "edema": draw_edema,
        "device": _device,
        "fracture": _fracture,
    }
)
