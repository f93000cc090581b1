"""Labels as a labeller of reports would have marked them: 1 present, 0 absent, -1 uncertain, blank not mentioned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crossray.data.findings import FINDINGS
from crossray.data.twins.material import TwinStudy

_DOUBTED, _DENIED = 0.2, 0.4


def twin_marks(study: TwinStudy, seed: int) -> dict[str, str]:
    """A mark for each class, in the published order; a class that the study has is 1.0 or, at times, -1.0.

    No Finding is 1.0 or blank, as a labeller leaves it.
    """
    draws = np.random.default_rng([seed, 3, study.number]).random(len(FINDINGS))
    marks = {}
    for name, draw in zip(FINDINGS, draws, strict=True):
        if name == "No Finding":
            marks[name] = "1.0" if study.labels[name] == 1.0 else ""
        elif study.labels[name] == 1.0:
            marks[name] = "-1.0" if draw < _DOUBTED else "1.0"
        else:
            marks[name] = "0.0" if draw < _DENIED else ""
    return marks


def certain(study: TwinStudy) -> dict[str, str]:
    """The marks that people gave who looked at the films: 1.0 or 0.0 for each class."""
    return {name: f"{study.labels[name]:.1f}" for name in FINDINGS}


def positives(marks: Mapping[str, str]) -> list[str]:
    """The names under which a source counts the classes marked as present."""
    return [f"positive {name}" for name, mark in marks.items() if mark == "1.0"]
