"""What difficulty sets, in three frozen presets, and the hash that a comparison of methods is pinned to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from crossray.data.phantom.phrases import phrase_tables
from crossray.settings import Settings

GENERATOR_VERSION = "1"
"""Raised whenever a film, mask, label or report of any ``(difficulty, seed, index)`` changes."""

Difficulty = Literal["easy", "medium", "hard"]
Range = tuple[float, float]


class DifficultySettings(Settings):
    """The knobs of difficulty. A pair is a range that each study draws from evenly.

    ``contrast`` multiplies the attenuation of a finding, ``extent`` its lengths; ``noise`` is the photon noise as
    a share of the signal in the lungs; ``sizes`` weighs small, moderate and large findings; ``tilt`` is the
    largest tilt of the film in radians; the ``*_rate`` entries are probabilities: a distractor drawn on the film,
    a remark that has nothing to do with the findings, a rare synonym, a hedged phrase, a report without its
    findings section.
    """

    contrast: Range
    extent: Range
    noise: Range
    sizes: tuple[float, float, float]
    tilt: float
    distractor_rate: float
    remark_rate: float
    rare_word_rate: float
    hedge_rate: float
    impression_only_rate: float


PRESETS: Mapping[Difficulty, DifficultySettings] = MappingProxyType(
    {
        "easy": DifficultySettings(
            contrast=(0.95, 1.2),
            extent=(1.0, 1.25),
            noise=(0.004, 0.010),
            sizes=(0.2, 0.4, 0.4),
            tilt=0.02,
            distractor_rate=0.1,
            remark_rate=0.1,
            rare_word_rate=0.05,
            hedge_rate=0.05,
            impression_only_rate=0.05,
        ),
        "medium": DifficultySettings(
            contrast=(0.65, 1.05),
            extent=(0.85, 1.15),
            noise=(0.008, 0.020),
            sizes=(0.4, 0.4, 0.2),
            tilt=0.04,
            distractor_rate=0.25,
            remark_rate=0.25,
            rare_word_rate=0.2,
            hedge_rate=0.15,
            impression_only_rate=0.1,
        ),
        "hard": DifficultySettings(
            contrast=(0.35, 0.8),
            extent=(0.7, 1.05),
            noise=(0.015, 0.035),
            sizes=(0.55, 0.33, 0.12),
            tilt=0.07,
            distractor_rate=0.45,
            remark_rate=0.45,
            rare_word_rate=0.4,
            hedge_rate=0.25,
            impression_only_rate=0.15,
        ),
    }
)


def preset_hash(difficulty: Difficulty) -> str:
    """sha256 (hex) over the generator's version, the preset's parameters and the phrase tables."""
    content = {
        "version": GENERATOR_VERSION,
        "difficulty": difficulty,
        "parameters": PRESETS[difficulty].model_dump(mode="json"),
        "phrases": phrase_tables(),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
