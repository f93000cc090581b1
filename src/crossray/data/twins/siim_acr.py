"""Twin of SIIM-ACR Pneumothorax Segmentation, stage 1: run-length masks with the quirks of its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.run_length import EMPTY_CODE, encode_relative_runs
from crossray.data.sources.expected import ExpectedCounts
from crossray.data.twins.files import uids, write_dicom, write_lines
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

#: What stands for a pneumothorax: a small twin would have one or two, so effusions count too.
PLEURAL = ("Pneumothorax", "Pleural Effusion")


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin; a mask of two parts has two rows, and a blank stands behind the comma, in the header too."""
    lines = ["ImageId, EncodedPixels"]
    studies = twin_studies(config)
    for study in studies:
        film_id = image_id(config, study)
        parts = _parts(study)
        lines += [f"{film_id}, {_code(part)}" for part in parts] or [f"{film_id}, {EMPTY_CODE}"]
        names = uids("siim", config.seed, study.number)
        folder = out / "dicom-images-train" / names["StudyInstanceUID"] / names["SeriesInstanceUID"]
        write_dicom(
            folder / f"{film_id}.dcm",
            study.pixels,
            **names,
            PatientSex=study.sex,
            PatientAge=f"{study.age:03d}Y",
            ViewPosition=study.view_position,
        )
    write_lines(out / "train-rle.csv", "\n".join(lines) + "\n")
    positives = sum(bool(_parts(study)) for study in studies)
    counts = {"studies": len(studies), "positive Pneumothorax": positives, "rows of train-rle.csv": len(lines) - 1}
    return ExpectedCounts(counts=counts)


def image_id(config: TwinConfig, study: TwinStudy) -> str:
    """The film's name, which is its UID."""
    return uids("siim", config.seed, study.number)["SOPInstanceUID"]


def pleural_mask(study: TwinStudy) -> NDArray[np.bool_]:
    """``[height, width]`` bool: the mask that the twin's codes stand for."""
    inside = np.zeros(study.pixels.shape, dtype=np.bool_)
    for name in PLEURAL:
        if name in study.masks:
            inside |= study.masks[name] > 0
    return inside


def _parts(study: TwinStudy) -> list[NDArray[np.bool_]]:
    """The mask's left and right half, which overlap by a column; nothing for an empty mask."""
    inside = pleural_mask(study)
    if not inside.any():
        return []
    middle = int(np.median(np.flatnonzero(inside.any(axis=0))))
    left, right = inside.copy(), inside.copy()
    left[:, middle + 1 :] = False
    right[:, :middle] = False
    return [left, right]


def _code(inside: NDArray[np.bool_]) -> str:
    return encode_relative_runs(inside.T.ravel())
