"""A patient in front of a film: the shared layers that findings are drawn into and masks are cut from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crossray.data.phantom import organs
from crossray.data.phantom.anatomy import Anatomy, at_heights
from crossray.data.phantom.frame import Field, FilmFrame

_MASK_AIR = 0.06  # least length of air for a place to count as lung: nearer the mediastinum nothing can be seen


@dataclass(frozen=True)
class Scene:
    """Anatomy on a film, with the size of this visit's heart; layers are computed once, when asked for."""

    anatomy: Anatomy
    frame: FilmFrame
    heart_ratio: float

    @cached_property
    def body(self) -> Field:
        """Soft tissue of the trunk as if there were no air."""
        return organs.body_thickness(self.anatomy, self.frame)

    @cached_property
    def lungs(self) -> organs.Lungs:
        """Pleural cavities."""
        return organs.lungs(self.anatomy, self.frame)

    @cached_property
    def _heart(self) -> tuple[Field, Field]:
        return organs.heart_thickness(self.anatomy, self.frame, self.heart_ratio)

    @property
    def heart_outline(self) -> Field:
        """1 inside the outline of the heart."""
        return self._heart[1]

    @property
    def mediastinum(self) -> Field:
        """Thickness of heart and mediastinum."""
        return self._heart[0]

    @cached_property
    def air(self) -> Field:
        """Length of air along the ray: the lungs where heart and mediastinum leave room for them."""
        return self.lungs.depth * np.clip(1 - self.mediastinum / 0.5, 0, 1)

    @cached_property
    def lung(self) -> Field:
        """1 where lung can be seen, 0 elsewhere."""
        return ((self.lungs.inside > 0.5) & (self.air > _MASK_AIR)).astype(np.float64)

    def heart_edge(self, side: int, y: float) -> float:
        """Distance from the midline of the heart's or mediastinum's edge at a height, on one side."""
        right, left = self.anatomy.silhouette(self.heart_ratio)
        edge = right if side < 0 else left
        return side * float(at_heights(edge, np.asarray(y)))
