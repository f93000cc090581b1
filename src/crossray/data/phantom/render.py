"""From a case to a film and its masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.data.phantom import organs
from crossray.data.phantom.anatomy import Anatomy
from crossray.data.phantom.bones import skeleton_field
from crossray.data.phantom.case import Case, Finding
from crossray.data.phantom.devices import distractor_layer
from crossray.data.phantom.effect import Effect, Mask
from crossray.data.phantom.film import FilmStyle, expose, frame_film
from crossray.data.phantom.frame import Field, FilmFrame
from crossray.data.phantom.lesions import draw, heart_ratio, rib_break
from crossray.data.phantom.scene import Scene


@dataclass(frozen=True)
class FilmPlan:
    """All that a film is drawn from; the same plan gives the same pixels."""

    anatomy: Anatomy
    case: Case
    style: FilmStyle
    size: int

    @property
    def frame(self) -> FilmFrame:
        """The film's shape, and where the patient stands on it."""
        return frame_film(self.style, self.anatomy, self.size)

    def scene(self) -> Scene:
        """The patient in front of the film."""
        return Scene(self.anatomy, self.frame, heart_ratio(self.case.findings, self.anatomy))


@dataclass(frozen=True)
class Part:
    """One side of one finding, with its mask ``[height, width]``."""

    finding: Finding
    side: int
    mask: Mask


def finding_parts(plan: FilmPlan, label: str | None = None) -> tuple[Part, ...]:
    """Masks of all findings (of one class, where a label is given), side by side, in the order of the case."""
    scene = plan.scene()
    seen = np.zeros((scene.frame.height, scene.frame.width), dtype=np.bool_)
    seen[plan.style.opening(*seen.shape)] = True
    return tuple(
        Part(finding, side, draw(finding, side, scene).mask & seen)
        for finding in plan.case.findings
        if label in (None, finding.label)
        for side in finding.sides
    )


def render_film(plan: FilmPlan) -> NDArray[np.uint8]:
    """The film's pixels, ``[height, width]``, bone bright."""
    scene = plan.scene()
    effects = [draw(finding, side, scene) for finding in plan.case.findings for side in finding.sides]
    attenuation = _soft_tissue(scene, effects)
    breaks = tuple(rib_break(f, side) for f in plan.case.findings if f.kind == "fracture" for side in f.sides)
    covered = np.clip(scene.body * 3, 0, 1)
    attenuation += skeleton_field(scene.anatomy, scene.frame, breaks) * covered
    for effect in effects:
        if effect.added is not None:
            attenuation += effect.added
    for item in plan.case.distractors:
        attenuation += distractor_layer(item, scene)
    return expose(attenuation, plan.style)


def _soft_tissue(scene: Scene, effects: list[Effect]) -> Field:
    """Attenuation of all but bones and what findings add: the body, less the air that findings left."""
    anatomy, frame = scene.anatomy, scene.frame
    filled, marking, wet = np.zeros_like(scene.air), np.ones_like(scene.air), np.ones_like(scene.air)
    for effect in effects:
        if effect.opacity is not None:
            filled = 1 - (1 - filled) * (1 - effect.opacity)
        if effect.bare is not None:
            marking = marking * (1 - effect.bare)
        if effect.wet is not None:
            wet = wet + effect.wet
    vessels = organs.vessel_field(anatomy, frame) * wet + 0.006 * organs.lung_texture(anatomy, frame)
    lung = scene.lungs.inside * np.clip(scene.air * 3, 0, 1)
    air = scene.air * (1 - filled)
    hollow = 0.8 * organs.airway_field(anatomy, frame) + organs.bubble_field(anatomy, frame)
    # Heart and mediastinum stand out against lung alone: in the abdomen all is as dense as they are.
    seen = np.clip(scene.body * 4, 0, 1) * np.clip(scene.lungs.above / 0.2, 0, 1)
    trunk = scene.body + 0.22 * scene.mediastinum * seen
    return trunk + organs.breast_field(anatomy, frame) - air - hollow + vessels * lung * marking
