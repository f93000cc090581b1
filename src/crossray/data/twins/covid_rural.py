"""Twin of COVID Rural: RGB films, masks of 0 and 1, some films without a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.twins.files import Cell, write_jpeg, write_png, write_table
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies
from crossray.data.twins.rsna_pneumonia import OPACITIES

#: Header of the publisher's table of patients.
PATIENT_COLUMNS = (
    *("PATIENT_ID", "AGE", "SEX", "RACE", "ZIP", "LATEST_BMI", "LATEST WEIGHT", "LATEST_HEIGHT_inches", "TUBERCULOSIS"),
    *("SYSTEMIC LUPUS ERYTHMATOSUS", "RHEUMATOID ARTHRITIS", "EXTENSIVE BURNS", "ASPLENIA", "HYPOSPLENIA", "MEASLES"),
    *("CYTOMEGALOVIRUS", "CHICKEN POX", "HERPES ZOSTER", "MALNUTRITION", "CURRENT PREGNANT", "CHRONIC KIDNEY DISEASE"),
    *("DIABETES TYPE I", "DIABETES TYPE II", "TRANSPLANT", "HEMODIALYSIS Pre Diagnosis"),
    *("HEMODIALYSIS Post diagnosis", "CANCER", "COVID TEST POSITIVE", "TEST NAME", "ICU Admit", "# ICU admits"),
    "MORTALITY",
)
_UNMASKED = 12  # one film in so many has no mask, as three of the publisher's 224


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin."""
    studies = twin_studies(config)
    people: dict[int, list[Cell]] = {}
    for study in studies:
        write_jpeg(out / "jpgs" / f"{stem(study)}.jpg", np.stack([study.pixels] * 3, axis=2))
        if has_mask(study):
            write_png(out / "pngs_masks" / f"{stem(study)}.png", opacity_mask(study).astype(np.uint8))
        facts: list[Cell] = [patient(study), study.age, study.sex]
        people[study.patient] = [*facts, *[0] * (len(PATIENT_COLUMNS) - len(facts))]
    write_table(out / "covid_rural_patient_info.csv", PATIENT_COLUMNS, people.values())
    masked = [study for study in studies if has_mask(study)]
    return ExpectedCounts(counts={"studies": len(masked), "patients": len({study.patient for study in masked})})


def patient(study: TwinStudy) -> str:
    """The patient's id."""
    return f"COVID-19-AR-{16_400_000 + study.patient:08d}"


def stem(study: TwinStudy) -> str:
    """The film's name: patient and date."""
    month, day = divmod(study.visit, 28)
    return f"{patient(study)}_{month % 12 + 1:02d}-{day + 1:02d}-2012-XR"


def has_mask(study: TwinStudy) -> bool:
    """Whether the twin has a mask of the film."""
    return study.number % _UNMASKED != _UNMASKED - 1


def opacity_mask(study: TwinStudy) -> NDArray[np.bool_]:
    """``[height, width]`` bool: all opacities of the phantom's film; may be empty."""
    inside = np.zeros(study.pixels.shape, dtype=np.bool_)
    for name in OPACITIES:
        if name in study.masks:
            inside |= study.masks[name] > 0
    return inside
