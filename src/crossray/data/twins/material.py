"""What the twins are made of: phantom studies with pixels, report, labels, boxes, masks, patients and their facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.study import Box, PhraseRegion, Report, SectionName, Study
from crossray.settings import Settings


class TwinConfig(Settings):
    """How much of a twin to write.

    Attributes:
        count: number of studies.
        seed: decides everything drawn; the same seed gives the same files.
        size: long side of a film in pixels. Small, for a twin stands for a layout, not for pictures.
    """

    count: int = Field(default=24, ge=8, le=10_000)
    seed: int = Field(default=0, ge=0)
    size: int = Field(default=96, ge=64, le=1024)


@dataclass(frozen=True)
class TwinStudy:
    """One phantom study with the facts that publishers give beside films.

    Attributes:
        number: 0, 1, 2, ... within the twin.
        patient: number of the patient; several studies may share one, and these stand together.
        visit: 0 for a patient's first study.
        sex: F or M, the same for all studies of a patient.
        age: in years.
        view_position: PA or AP.
        pixels: the frontal film, ``[height, width]`` uint8; its long side is ``TwinConfig.size``.
        report: as the phantom wrote it, with sections and sentences.
        labels: 1.0 or 0.0 for each of the 14 CheXpert classes.
        boxes: one a finding, in pixels of the film; the label is a CheXpert class.
        masks: class -> ``[height, width]`` uint8 of 0 and 255, for the classes that have boxes.
        phrases: spans of the report's text and the boxes that they speak of.
    """

    number: int
    patient: int
    visit: int
    sex: str
    age: int
    view_position: str
    pixels: NDArray[np.uint8]
    report: Report
    labels: Mapping[str, float]
    boxes: tuple[Box, ...]
    masks: Mapping[str, NDArray[np.uint8]]
    phrases: tuple[PhraseRegion, ...]

    @property
    def lateral(self) -> NDArray[np.uint8]:
        """A second film of the study, ``[height, 3 / 4 width]``, that differs from the first; the phantom has none."""
        return np.ascontiguousarray(self.pixels[:, ::-1][:, : self.pixels.shape[1] * 3 // 4])

    def section(self, name: SectionName) -> str:
        """Text of the report's section of that kind; ``""`` if it has none."""
        found = [section.span.of(self.report.text) for section in self.report.sections if section.name == name]
        return " ".join(found)


def twin_studies(config: TwinConfig) -> list[TwinStudy]:
    """The studies of a twin, films drawn, by patient and visit.

    They are of the easy phantom: its findings are large enough to have boxes on films of a hundred pixels.
    """
    source = PhantomSource(PhantomConfig(seed=config.seed, count=config.count, difficulty="easy", size=config.size))
    numbers: dict[str, int] = {}
    visits: dict[int, int] = {}
    studies = []
    for number, study in enumerate(source.studies()):
        patient = numbers.setdefault(str(study.patient_id), len(numbers))
        visit = visits.get(patient, -1) + 1
        visits[patient] = visit
        studies.append(_twin_study(study, number, patient, visit, config.seed))
    return studies


def _twin_study(study: Study, number: int, patient: int, visit: int, seed: int) -> TwinStudy:
    of_patient, of_study = np.random.default_rng([seed, 1, patient]), np.random.default_rng([seed, 2, number])
    sex, age = "FM"[int(of_patient.integers(2))], int(of_patient.integers(18, 90))
    (film,) = study.films
    return TwinStudy(
        number=number,
        patient=patient,
        visit=visit,
        sex=sex,
        age=age,
        view_position="PA" if of_study.random() < 0.6 else "AP",
        pixels=film.pixels.read(),
        report=study.report,
        labels=study.labels,
        boxes=film.boxes,
        masks={name: mask.read() for name, mask in film.masks.items()},
        phrases=study.phrase_regions,
    )
