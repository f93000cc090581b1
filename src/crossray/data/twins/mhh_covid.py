"""Twin of the small copy of Hannover's COVID-19 films: whole films, and square crops with lung boxes and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.twins.covid_cxr import BOX_HEADER
from crossray.data.twins.files import Cell, Pixels, twin_digest, write_jpeg, write_png, write_table
from crossray.data.twins.lungs import box_rows, lung_boxes, lung_mask
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

_VALUES = ("crp", "d-dimer", "factor_xii", "ldh", "lymphocytes", "neutrophils", "pco2", "po2")
HEADER = (
    *("image", "variant", "patient_id", "sex", "admission_offset", "icu_admission_offset", "icu_release_offset"),
    *("death_offset", "modality", "projection"),
    *(f"{name}_{what}" for name in _VALUES for what in ("offset", "val")),
    *("icu_at_any_time", "died", "license"),
)


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin."""
    rows: list[list[Cell]] = []
    boxes: list[list[Cell]] = []
    studies = twin_studies(config)
    crops = [study for study in studies if is_crop(study)]
    for study in studies:
        image = f"{image_id(config, study)}.jpg"
        write_jpeg(out / "images" / image, film(study))
        rows.append(_row(config, study, image))
        if is_crop(study):
            boxes += box_rows(image, lung_boxes(film(study)), "GeneralBlockchain lung boxes")
            write_png(out / "masks" / "lungs" / f"{image_id(config, study)}.png", lung_mask(film(study)))
    write_table(out / "labels.csv", HEADER, rows)
    write_table(out / "boxes.csv", BOX_HEADER, boxes)
    counts = {"studies": len(studies), "patients": len({study.patient for study in studies})}
    counts |= {f"positive {name}": sum(course(study)[name] for study in studies) for name in course(studies[0])}
    return ExpectedCounts(counts={**counts, "boxes": 2 * len(crops), "masks": len(crops)})


def image_id(config: TwinConfig, study: TwinStudy) -> str:
    """The film's name without its ending."""
    return twin_digest("mhh", config.seed, study.number)[:8]


def patient_id(config: TwinConfig, study: TwinStudy) -> str:
    """The patient's id."""
    return twin_digest("mhh", "patient", config.seed, study.patient)[:8]


def is_crop(study: TwinStudy) -> bool:
    """Whether the film is the square crop, which alone has boxes and a mask; a patient may have films of both kinds."""
    return study.number % 2 == 0


def film(study: TwinStudy) -> Pixels:
    """The film as written: whole, or its middle square."""
    if not is_crop(study):
        return study.pixels
    side = min(study.pixels.shape)
    top, left = ((size - side) // 2 for size in study.pixels.shape)
    return np.ascontiguousarray(study.pixels[top : top + side, left : left + side])


def course(study: TwinStudy) -> dict[str, bool]:
    """The two labels, the same for all films of a patient."""
    return {"icu_at_any_time": study.patient % 4 != 0, "died": study.patient % 4 == 3}


def _row(config: TwinConfig, study: TwinStudy, image: str) -> list[Cell]:
    """A row; a laboratory value is there for every other film, days are written as pandas does with gaps."""
    labels = course(study)
    values = ("0.0", 5.0 + study.number) if study.number % 2 else (None, None)
    return [
        *(image, "square crop" if is_crop(study) else "whole", patient_id(config, study), study.sex.lower()),
        *(-study.visit, "-1.0" if labels["icu_at_any_time"] else None, "4.0" if labels["icu_at_any_time"] else None),
        *("9.0" if labels["died"] else None, "CR", study.view_position.lower(), *(values * len(_VALUES))),
        *(*(int(label) for label in labels.values()), "CC BY 3.0"),
    ]
