"""Twin of the small copy of Kermany's films: names that tell patient and class, a lung mask of each film."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.twins.files import Cell, write_jpeg, write_png, write_table
from crossray.data.twins.lungs import lung_mask
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

HEADER = ("image", "patient_id", "label", "lung_fraction", "v7_mask_id", "orig_width", "orig_height", "license")
_GERMS = {"bacterial": "bacteria", "viral": "virus"}


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin."""
    rows: list[list[Cell]] = []
    studies = twin_studies(config)
    counts: Counter[str] = Counter(studies=len(studies), masks=len(studies))
    for study in studies:
        mask = lung_mask(study.pixels)
        write_jpeg(out / "images" / f"{stem(study)}.jpg", study.pixels)
        write_png(out / "masks" / "lungs" / f"{stem(study)}.png", mask)
        height, width = study.pixels.shape
        facts = (patient_id(study), label(study), f"{(mask == 255).mean():.4f}")
        rows.append([f"{stem(study)}.jpg", *facts, 960_000 + study.number, width, height, "CC BY 4.0"])
        counts.update([f"positive {label(study)}"] + ["positive Pneumonia"] * (label(study) in _GERMS))
    counts["patients"] = len({patient_id(study) for study in studies})
    write_table(out / "labels.csv", HEADER, rows)
    return ExpectedCounts(counts=dict(counts))


def label(study: TwinStudy) -> str:
    """The class: a patient is well or has pneumonia, at times bacterial and viral ones."""
    if study.patient % 3 == 0:
        return "normal"
    return "bacterial" if (study.patient + study.visit) % 2 else "viral"


def patient_id(study: TwinStudy) -> str:
    """The patient as the films' names tell it."""
    return f"IM-{study.patient + 115:04d}" if label(study) == "normal" else f"person{study.patient + 1}"


def stem(study: TwinStudy) -> str:
    """The film's name without its ending."""
    if label(study) == "normal":
        return f"{patient_id(study)}-{study.visit + 1:04d}"
    return f"{patient_id(study)}_{_GERMS[label(study)]}_{study.number + 1}"
