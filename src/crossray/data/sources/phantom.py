"""The phantom as a source: any number of procedural studies with known boxes, masks and phrase regions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from pydantic import Field

from crossray.data.findings import FINDINGS
from crossray.data.phantom.build import PhantomKey, build_study
from crossray.data.phantom.presets import Difficulty, preset_hash
from crossray.data.study import Study
from crossray.settings import Settings


class PhantomConfig(Settings):
    """Which phantom studies: ``count`` of them from index ``first`` on; ``size`` is a film's long side in pixels."""

    seed: int = Field(default=0, ge=0)
    count: int = Field(default=800, ge=1)
    first: int = Field(default=0, ge=0)
    difficulty: Difficulty = "medium"
    size: int = Field(default=256, ge=64, le=2048)


class PhantomSource:
    """Procedural studies, the same for the same config; every film is frontal, nothing is rejected."""

    has_reports = True

    def __init__(self, config: PhantomConfig) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """``phantom``."""
        return "phantom"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The CheXpert classes."""
        return FINDINGS

    def study(self, index: int) -> Study:
        """The study at a place of this source (0 is the study of index ``first``)."""
        config = self.config
        return build_study(PhantomKey(config.difficulty, config.seed, config.first + index, config.size))

    def studies(self) -> Iterator[Study]:
        """All studies in order; films are drawn only when their pixels are read."""
        return (self.study(index) for index in range(self.config.count))

    def fingerprint(self) -> str:
        """sha256 over the config and the frozen preset."""
        content = {"config": self.config.model_dump(mode="json"), "preset": preset_hash(self.config.difficulty)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()
