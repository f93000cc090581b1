"""Twin of VinDr-CXR: three readers of each training film who do not agree, one consensus of each test film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.study import Box
from crossray.data.twins.files import Cell, twin_digest, uids, write_dicom, write_table
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

#: Classes of the training table in the publisher's order; the test table writes "Other disease".
CLASSES = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
    *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
    *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "Rib fracture", "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis"),
    *("Other diseases", "No finding"),
)
_NAMES = {
    "Pleural Effusion": "Pleural effusion",
    "Lung Lesion": "Nodule/Mass",
    "Fracture": "Rib fracture",
    "Support Devices": "Other lesion",
}
_TRAIN_SHARE = 0.75
_READERS = 17
_SEEN = 0.75  # how likely a reader sees a finding

Reading = tuple[str, list[Box]]


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin."""
    studies = twin_studies(config)
    train = round(_TRAIN_SHARE * len(studies))
    boxes = _write_part(out, "train", studies[:train], config) + _write_part(out, "test", studies[train:], config)
    counts = {"studies": len(studies), "images of train": train, "images of test": len(studies) - train, "boxes": boxes}
    return ExpectedCounts(counts=counts)


def _write_part(out: Path, part: str, studies: Sequence[TwinStudy], config: TwinConfig) -> int:
    """Films and tables of one part; the number of boxes."""
    drawn: list[list[Cell]] = []
    labels: list[list[Cell]] = []
    boxes = 0
    for study in studies:
        film_id = twin_digest("vindr", config.seed, study.number)[:32]
        write_dicom(
            out / part / f"{film_id}.dicom",
            study.pixels,
            **uids("vindr", config.seed, study.number),
            PatientSex=study.sex,
            PatientAge=f"{study.age:03d}Y",
        )
        for reader, seen in _readings(part, study, config.seed):
            who: list[Cell] = [reader] if part == "train" else []
            classes = {box.label for box in seen} or {"No finding"}
            labels.append([film_id, *who, *(int(name in classes) for name in CLASSES)])
            drawn += [[film_id, *who, box.label, box.x_min, box.y_min, box.x_max, box.y_max] for box in seen]
            drawn += [] if seen else [[film_id, *who, "No finding", None, None, None, None]]
            boxes += len(seen)
    reader_column = ["rad_id"] if part == "train" else []
    head = ["image_id", *reader_column]
    write_table(
        out / "annotations" / f"annotations_{part}.csv",
        [*head, "class_name", "x_min", "y_min", "x_max", "y_max"],
        drawn,
    )
    classes_here = CLASSES if part == "train" else tuple(name.replace("diseases", "disease") for name in CLASSES)
    write_table(out / "annotations" / f"image_labels_{part}.csv", [*head, *classes_here], labels)
    return boxes


def _readings(part: str, study: TwinStudy, seed: int) -> list[Reading]:
    """Who read the film and which boxes they drew: three people who miss some, or one consensus that misses none."""
    true = [_named(box) for box in study.boxes]
    if part == "test":
        return [("", true)]
    rng = np.random.default_rng([seed, 4, study.number])
    people = sorted(int(number) for number in rng.choice(np.arange(1, _READERS + 1), size=3, replace=False))
    return [(f"R{number}", [_moved(box, rng) for box in true if rng.random() < _SEEN]) for number in people]


def _named(box: Box) -> Box:
    return Box(_NAMES.get(box.label, box.label), box.x_min, box.y_min, box.x_max, box.y_max)


def _moved(box: Box, rng: np.random.Generator) -> Box:
    """The box as another person would draw it: up to a pixel off inwards, so that it stays on the film."""
    off = rng.random(4).round(3)
    return Box(
        box.label, box.x_min + off[0] / 2, box.y_min + off[1] / 2, box.x_max - off[2] / 4, box.y_max - off[3] / 4
    )
