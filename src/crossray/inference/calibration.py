"""``calibration.json`` of a run: how its zero-shot scores become probabilities, and of which films that holds.

A score is a difference of cosines. For each finding, a line fitted on the validation side (:mod:`evaluation.calibrate`)
turns it into log odds. It belongs to one checkpoint and to one set of sentences; with others nothing is calibrated, and
that is said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit

from crossray.errors import CheckpointError, ConfigError
from crossray.files import sha256_of, sha256_of_json, unsealed
from crossray.inference.run_files import checkpoint_file, read_run_manifest
from crossray.settings import Settings, build_settings

CALIBRATION_FILE = "calibration.json"
CALIBRATION_FORMAT_VERSION = 1

UNCALIBRATED = "a difference of cosines, which orders films by one finding and is no probability"


@dataclass(frozen=True)
class Scaling:
    """``sigmoid(slope * score + offset)`` for one label; a temperature T is a slope of 1/T without offset."""

    slope: float
    offset: float = 0.0

    @property
    def temperature(self) -> float:
        """One over the slope."""
        return 1.0 / self.slope

    def probabilities(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Of scores of any shape."""
        result: NDArray[np.float64] = expit(self.slope * np.asarray(scores, dtype=np.float64) + self.offset)
        return result


class Estimate(Settings):
    """A figure with the interval of its bootstrap by patient."""

    value: float
    low: float
    high: float


class HeldOut(Settings):
    """What a finding's probabilities were worth on the test side.

    Attributes:
        films, positives: whose label is known, and those that have the finding.
        ece_before, brier_before: of the score read as log odds, as a softmax over the two mean cosines would have it.
        ece_after, brier_after: of the calibrated probability.
        brier_prevalence: of one probability for all films, the share of validation films that have the finding.
    """

    films: int
    positives: int
    ece_before: Estimate
    ece_after: Estimate
    brier_before: Estimate
    brier_after: Estimate
    brier_prevalence: Estimate


class FindingCalibration(Settings):
    """One finding's line, or why it has none.

    Attributes:
        prompts: :func:`prompts_hash` of the sentences that the scores were made with.
        films, positives: of the validation side whose label is known, and those that have the finding.
        scaling: None where it was ``refused``.
        refused: why there is no line.
        test: on films that nothing was fitted on; None without a line, or where no label is known.
    """

    prompts: str
    films: int
    positives: int
    scaling: Scaling | None = None
    refused: str | None = None
    test: HeldOut | None = None

    @property
    def prevalence(self) -> float:
        """The share of the validation films that have the finding."""
        return self.positives / self.films if self.films else 0.0


class Calibration(Settings):
    """``calibration.json``: the lines of all findings, and what they were fitted with.

    Attributes:
        weights: sha256 of the checkpoint whose scores they are of; ``checkpoint`` is its name.
        source, store_hash, split_protocol, split_hash, fold, protocol, views: which films.
        bank: id of the prompts.
        films: of the validation side.
        draws, level, seed: of the bootstrap on the test side.
    """

    kind: Literal["calibration"] = "calibration"
    format_version: int = CALIBRATION_FORMAT_VERSION
    weights: str
    checkpoint: str
    source: str
    store_hash: str
    split_protocol: str
    split_hash: str
    fold: str
    protocol: str
    views: tuple[str, ...]
    bank: str
    films: int
    draws: int
    level: float
    seed: int
    crossray: str
    date: str
    findings: dict[str, FindingCalibration] = Field(default_factory=dict)

    @property
    def of_films(self) -> str:
        """Which films, in words."""
        return f"{self.films} {' and '.join(self.views)} validation films of {self.source}"


def read_calibration(run: Path) -> Calibration | None:
    """The calibration of a run folder; ``None`` if there is none.

    Raises:
        CheckpointError: it was altered, cut short, or is of another format version.
    """
    file = run / CALIBRATION_FILE
    if not file.is_file():
        return None
    remedy = "Make it again with crossray calibrate, or delete it."
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version = content["format_version"]
        if version == CALIBRATION_FORMAT_VERSION:
            return build_settings(Calibration, unsealed(content), file=file)
    except (ConfigError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"is damaged ({error}).", file=file, remedy=remedy) from error
    problem = f"has format version {version}; this CrossRay reads {CALIBRATION_FORMAT_VERSION}."
    raise CheckpointError(problem, file=file, field="format_version", remedy=remedy)


def prompts_hash(positive: Sequence[str], negated: Sequence[str]) -> str:
    """sha256 of the sentences that state a finding and of those that deny it."""
    return sha256_of_json({"positive": list(positive), "negated": list(negated)})


@dataclass(frozen=True)
class FindingScale:
    """How one finding's scores are to be read.

    Attributes:
        fitted: its calibration; ``None`` if it has none.
        of_films: the films that it was fitted on, in words.
        why_not: the reason, if it has none.
    """

    fitted: FindingCalibration | None = None
    of_films: str = ""
    why_not: str = ""

    @property
    def meaning(self) -> str:
        """What the numbers are, in words."""
        if self.fitted is None:
            return f"not calibrated, {self.why_not}: {UNCALIBRATED}"
        return (
            f"a probability, calibrated on {self.of_films} ({self.fitted.positives} of {self.fitted.films} have it); "
            "it holds for films like those only"
        )

    def probabilities(self, scores: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """Of scores of any shape; ``None`` without a calibration."""
        scaling = self.fitted.scaling if self.fitted is not None else None
        return None if scaling is None else scaling.probabilities(scores)


@dataclass(frozen=True)
class Calibrator:
    """What may be used of a run's calibration with the weights at hand.

    ``calibration`` is ``None`` where there is none for them; ``why_not`` then says the reason.
    """

    calibration: Calibration | None = None
    why_not: str = "these weights have no calibration"

    @classmethod
    def of_run(cls, run: Path, checkpoint: str = "best") -> Calibrator:
        """The calibrator of a run folder.

        Raises:
            CheckpointError: the calibration is damaged, or the run cannot be used.
        """
        found = read_calibration(run)
        if found is None:
            return cls(why_not="crossray calibrate was not called for this run")
        # An exported folder holds the weights of its run in a file of its own.
        own = {sha256_of(checkpoint_file(run, checkpoint)), read_run_manifest(run).weights_of}
        if found.weights not in own:
            return cls(why_not=f"the run's {CALIBRATION_FILE} is of other weights; call crossray calibrate again")
        return cls(found)

    def scale(self, finding: str, positive: Sequence[str], negated: Sequence[str]) -> FindingScale:
        """How the scores of a finding are to be read that were made with these sentences."""
        if self.calibration is None:
            return FindingScale(why_not=self.why_not)
        fitted, films = self.calibration.findings.get(finding), self.calibration.of_films
        if fitted is None:
            return FindingScale(why_not=f"{films} have no label of it, or the bank that was used no such class")
        if fitted.prompts != prompts_hash(positive, negated):
            return FindingScale(why_not=f"it was calibrated with other sentences (bank {self.calibration.bank})")
        if fitted.scaling is None:
            return FindingScale(why_not=fitted.refused or "no line was fitted")
        return FindingScale(fitted, films)
