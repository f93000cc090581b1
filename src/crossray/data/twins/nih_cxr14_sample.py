"""Twin of the small copy of NIH ChestX-ray14: JPEG films, boxes of two origins, readings of some films."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.sources.nih_cxr14 import CLASSES, NO_FINDING
from crossray.data.study import Box
from crossray.data.twins.covid_cxr import BOX_HEADER
from crossray.data.twins.files import Cell, twin_digest, write_jpeg, write_table
from crossray.data.twins.lungs import box_rows
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies
from crossray.data.twins.nih_cxr14 import film_name, is_test, nih_boxes, nih_labels
from crossray.data.twins.rsna_pneumonia import NORMAL, NOT_NORMAL, OPACITY, opacity_boxes

READINGS = ("google_fracture", "google_pneumothorax", "google_airspace_opacity", "google_nodule_or_mass")
HEADER = (
    *("image", "patient_id", "follow_up", "age", "sex", "view", "finding_labels", *CLASSES, "No_Finding", "nih_split"),
    *("rsna_id", "rsna_class", "license", *READINGS),
)


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin."""
    rows: list[list[Cell]] = []
    boxes: list[list[Cell]] = []
    studies = twin_studies(config)
    counts: Counter[str] = Counter(studies=len(studies), patients=len({study.patient for study in studies}))
    for study in studies:
        write_jpeg(out / "images" / image(study), study.pixels)
        rows.append(_row(config, study))
        for source, drawn in film_boxes(study).items():
            boxes += box_rows(image(study), drawn, source)
            counts.update(f"boxes of {box.label}" for box in drawn)
        counts.update(f"positive {name}" for name in nih_labels(study))
        counts[f"positive {OPACITY}"] += rsna_class(study) == OPACITY
    write_table(out / "labels.csv", HEADER, rows)
    write_table(out / "boxes.csv", BOX_HEADER, boxes)
    return ExpectedCounts(counts={**counts, "boxes": len(boxes)})


def image(study: TwinStudy) -> str:
    """The film's name."""
    return film_name(study).replace(".png", ".jpg")


def rsna_class(study: TwinStudy) -> str:
    """The class that RSNA gave the film; every fourth film it did not take."""
    if study.number % 4 == 3:
        return ""
    if opacity_boxes(study):
        return OPACITY
    return NOT_NORMAL if study.boxes else NORMAL


def film_boxes(study: TwinStudy) -> dict[str, list[Box]]:
    """Source -> its boxes."""
    found = {}
    if rsna_class(study) == OPACITY:
        found["RSNA 2018"] = [Box(OPACITY, box.x_min, box.y_min, box.x_max, box.y_max) for box in opacity_boxes(study)]
    if study.number % 2 == 0:
        found["NIH BBox_List_2017"] = nih_boxes(study)
    return found


def _row(config: TwinConfig, study: TwinStudy) -> list[Cell]:
    labels = nih_labels(study)
    readings = ("0.0", "0.0", "1.0" if study.boxes else "0.0", "0.0") if study.number % 5 == 0 else ("",) * 4
    rsna_id = twin_digest("rsna", config.seed, study.number)[:32] if rsna_class(study) else ""
    return [
        *(image(study), study.patient + 1, study.visit, study.age, study.sex, study.view_position, "|".join(labels)),
        *(int(name in labels) for name in (*CLASSES, NO_FINDING)),
        *("test" if is_test(study) else "train_val", rsna_id),
        *(rsna_class(study), "NIH: no restriction, attribution", *readings),
    ]
