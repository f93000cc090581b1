"""Twin of the RSNA Pneumonia Detection Challenge, stage 2: opacities of the phantom as its boxes."""

from __future__ import annotations

from pathlib import Path

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.study import Box
from crossray.data.twins.files import Cell, twin_digest, uids, write_dicom, write_table
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

#: Classes of the phantom that stand for the publisher's Lung Opacity.
OPACITIES = ("Atelectasis", "Consolidation", "Edema", "Lung Lesion")
NORMAL, NOT_NORMAL, OPACITY = "Normal", "No Lung Opacity / Not Normal", "Lung Opacity"


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin; boxes are whole pixels written as ``10.0``, as pandas writes a column with gaps."""
    labels: list[list[Cell]] = []
    classes: list[list[Cell]] = []
    studies = twin_studies(config)
    for study in studies:
        film_id = patient_id(config, study)
        boxes = opacity_boxes(study)
        rows: list[list[Cell]] = [[film_id, *_edges(box), 1] for box in boxes]
        labels += rows or [[film_id, None, None, None, None, 0]]
        classes += [[film_id, _class(study)]] * max(1, len(boxes))
        write_dicom(
            out / "stage_2_train_images" / f"{film_id}.dcm",
            study.pixels,
            **uids("rsna", config.seed, study.number),
            PatientID=film_id,
            PatientSex=study.sex,
            PatientAge=f"{study.age:03d}Y",
            ViewPosition=study.view_position,
        )
    write_table(out / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), labels)
    write_table(out / "stage_2_detailed_class_info.csv", ("patientId", "class"), classes)
    positives = sum(bool(opacity_boxes(study)) for study in studies)
    boxes_in_all = sum(len(opacity_boxes(study)) for study in studies)
    counts = {"studies": len(studies), "positive Lung Opacity": positives, "boxes": boxes_in_all}
    return ExpectedCounts(counts={**counts, "rows of stage_2_train_labels.csv": len(labels)})


def patient_id(config: TwinConfig, study: TwinStudy) -> str:
    """The film's name, in the form of a UUID."""
    digits = twin_digest("rsna", config.seed, study.number)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def opacity_boxes(study: TwinStudy) -> list[Box]:
    """The boxes of a study that are opacities, in the phantom's order."""
    return [box for box in study.boxes if box.label in OPACITIES]


def _edges(box: Box) -> tuple[float, float, float, float]:
    return box.x_min, box.y_min, box.x_max - box.x_min, box.y_max - box.y_min


def _class(study: TwinStudy) -> str:
    if opacity_boxes(study):
        return OPACITY
    return NOT_NORMAL if study.boxes else NORMAL
