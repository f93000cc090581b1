"""What ``/api/findings`` answers: scores, and probabilities where the run was calibrated."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from crossray.inference.calibration import UNCALIBRATED, FindingScale
from crossray.serve.limits import NOTICE


class Findings(BaseModel):
    """Zero-shot findings of a film, each by its name."""

    scores: dict[str, float] = Field(description=UNCALIBRATED)
    calibrated: bool = Field(description="whether any finding has a probability")
    probabilities: dict[str, float] = Field(description="of the calibrated findings, 0 to 1")
    prevalence: dict[str, float] = Field(description="the share of the films of the calibration that have the finding")
    calibrated_on: str | None = Field(description="those films in words; probabilities hold for films like them only")
    not_calibrated: dict[str, str] = Field(description="why a finding has no probability")
    standing: dict[str, float] | None = Field(description="the share of the index's films that score lower")
    films: int | None = Field(description="of the index")
    meaning: str = Field(description="what the numbers are, in words")
    notice: str = NOTICE


def findings_answer(
    scores: dict[str, float], scales: dict[str, FindingScale], standing: dict[str, float] | None, films: int | None
) -> Findings:
    """The answer of scores and of how they are to be read; ``films`` of the index that ``standing`` is of."""
    fitted = {name: scale.fitted for name, scale in scales.items() if scale.fitted is not None}
    found = {name: scales[name].probabilities(np.array(scores[name])) for name in fitted}
    on = next((scale.of_films for scale in scales.values() if scale.fitted is not None), None)
    meaning = f"scores: {UNCALIBRATED}"
    if on is not None:
        meaning = f"probabilities: calibrated on {on}, and valid for films like those only; {meaning}"
    return Findings(
        scores=scores,
        calibrated=bool(fitted),
        probabilities={name: float(own) for name, own in found.items() if own is not None},
        prevalence={name: own.prevalence for name, own in fitted.items()},
        calibrated_on=on,
        not_calibrated={name: scale.why_not for name, scale in scales.items() if scale.fitted is None},
        standing=standing,
        films=films,
        meaning=meaning,
    )
