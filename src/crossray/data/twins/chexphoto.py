"""The layout twin of CheXphoto v1.1: the same films as natural photographs, tinted, and as synthetic ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.twins.chexpert import TABLE_HEADER, study_folder
from crossray.data.twins.files import Pixels, write_jpeg, write_table
from crossray.data.twins.marks import certain, positives, twin_marks
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

NAME_OF_DOWNLOAD = "CheXphoto-v1.1"
_SYNTHETIC = ["synthetic/digital", "synthetic/photographic"]
_TINTS = {"natural/iphone": (0.7, 0.9, 1.0), "natural/nokia": (1.0, 0.95, 0.6), "natural/oneplus": (0.9, 1.0, 0.8)}


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin into the empty folder ``out``."""
    studies = twin_studies(config)
    counts: Counter[str] = Counter(patients=len({study.patient for study in studies}))
    tables: dict[str, list[list[str]]] = {"train": [], "valid": []}
    for split, rows in tables.items():
        for study in (study for study in studies if split_of(study) == split):
            for photo in photos_of(study):
                rows.append(_write(out, study, photo, config.seed))
                counts.update(["studies", "images", *positives(marks_of(study, config.seed))])
        write_table(out / f"{split}.csv", TABLE_HEADER, rows)
        (out / split).mkdir(exist_ok=True)
    in_training = [study for study in studies if split_of(study) == "train"]
    counts["training radiographs"] = len(in_training)
    counts["training patients"] = len({study.patient for study in in_training})
    counts["validation radiographs"] = len(studies) - len(in_training)
    return ExpectedCounts(counts=dict(counts))


def split_of(study: TwinStudy) -> str:
    """The part of the set that a study's patient is in."""
    return "valid" if study.patient % 4 == 3 else "train"


def photos_of(study: TwinStudy) -> list[str]:
    """Folders of a film's photographs: one phone for all of training, another for some; a third for validation."""
    if split_of(study) == "valid":
        return ["natural/oneplus", *_SYNTHETIC]
    return ["natural/nokia", *(["natural/iphone"] if study.number % 3 == 0 else []), *_SYNTHETIC]


def marks_of(study: TwinStudy, seed: int) -> dict[str, str]:
    """The study's marks in the table of its split."""
    return twin_marks(study, seed) if split_of(study) == "train" else certain(study)


def photograph(study: TwinStudy, photo: str) -> Pixels:
    """A film as a photograph, ``[height, width, 3]``, in the colour of its light."""
    tinted: Pixels = np.rint(study.pixels[:, :, None] * np.array(_TINTS.get(photo, (1, 1, 1)))).astype(np.uint8)
    return tinted


def _write(out: Path, study: TwinStudy, photo: str, seed: int) -> list[str]:
    path = f"{split_of(study)}/{photo}/{study_folder(study)}/view1_frontal.jpg"
    write_jpeg(out / path, photograph(study, photo))
    sex = {"F": "Female", "M": "Male"}[study.sex]
    facts = [sex, str(study.age), "Frontal", study.view_position]
    return [f"{NAME_OF_DOWNLOAD}/{path}", *facts, *marks_of(study, seed).values()]
