"""The layout twin of NIH ChestX-ray14: PNG films in archives' folders, tables with their header quirks, split lists."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.sources.nih_cxr14 import BOXES, CLASSES, DATA_ENTRY, NO_FINDING, TEST_LIST, TRAIN_LIST
from crossray.data.study import Box
from crossray.data.twins.files import Pixels, write_lines, write_png
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

# As published: commas inside the names without quotation marks, and three commas after the boxes.
ENTRY_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"

_LABELS = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Edema": "Edema",
    "Pleural Effusion": "Effusion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
}


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin into the empty folder ``out``."""
    studies = twin_studies(config)
    counts: Counter[str] = Counter(studies=len(studies), images=len(studies))
    counts["patients"] = len({study.patient for study in studies})
    entries, boxes = [ENTRY_HEADER], [BOX_HEADER]
    for study in studies:
        labels, found = nih_labels(study), nih_boxes(study)
        entries.append(_entry(study, labels))
        boxes += [f"{film_name(study)},{box.label},{_corner_and_size(box)},,," for box in found]
        counts.update(f"positive {name}" for name in labels)
        counts.update(f"boxes of {box.label}" for box in found)
        counts["boxes"] += len(found)
        counts["images with boxes"] += bool(found)
        # Some of the published films have four channels.
        pixels = study.pixels if study.number % 5 else _with_alpha(study.pixels)
        write_png(out / f"images_{1 + study.number % 2:03d}" / "images" / film_name(study), pixels)
    write_lines(out / DATA_ENTRY[0], "\n".join(entries) + "\n")
    write_lines(out / BOXES, "\n".join(boxes) + "\n")
    for name, in_test in ((TRAIN_LIST, False), (TEST_LIST, True)):
        listed = [film_name(study) for study in studies if is_test(study) == in_test]
        write_lines(out / name, "\n".join(listed) + "\n")
    return ExpectedCounts(counts=dict(counts))


def film_name(study: TwinStudy) -> str:
    """Name of a study's film: patient and follow-up."""
    return f"{study.patient + 1:08d}_{study.visit:03d}.png"


def is_test(study: TwinStudy) -> bool:
    """Whether the twin's lists put a study's patient on the test side."""
    return study.patient % 4 == 3


def nih_labels(study: TwinStudy) -> list[str]:
    """The study's findings in the publisher's classes and order."""
    present = {name for label, name in _LABELS.items() if study.labels[label] == 1.0}
    present |= {"Infiltration" if box.label == "Infiltrate" else box.label for box in nih_boxes(study)}
    return [name for name in CLASSES if name in present] or [NO_FINDING]


def nih_boxes(study: TwinStudy) -> list[Box]:
    """The study's boxes in the classes that the publisher boxed."""
    boxes = []
    for box in study.boxes:
        label = _LABELS.get(box.label, "")
        if box.label == "Consolidation":
            label = "Pneumonia" if study.labels["Pneumonia"] == 1.0 else "Infiltrate"
        if box.label == "Lung Lesion":
            label = "Mass" if box.x_max - box.x_min > study.pixels.shape[1] / 8 else "Nodule"
        if label and label != "Edema":
            boxes.append(Box(label, box.x_min, box.y_min, box.x_max, box.y_max))
    return boxes


def _entry(study: TwinStudy, labels: list[str]) -> str:
    height, width = study.pixels.shape
    cells = (film_name(study), "|".join(labels), study.visit, study.patient + 1, study.age, study.sex)
    return ",".join(map(str, (*cells, study.view_position, width, height, 0.143, 0.143)))


def _corner_and_size(box: Box) -> str:
    return f"{box.x_min},{box.y_min},{box.x_max - box.x_min},{box.y_max - box.y_min}"


def _with_alpha(pixels: Pixels) -> Pixels:
    return np.stack([pixels, pixels, pixels, np.full_like(pixels, 255)], axis=2)
