"""Twin of MS-CXR over the part of MIMIC-CXR-JPG that it needs, with the reports of every second study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.sources.ms_cxr import CATEGORIES
from crossray.data.sources.ms_cxr_table import COLUMNS
from crossray.data.study import Box
from crossray.data.twins.files import Cell, twin_digest, write_jpeg, write_lines, write_table
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies


@dataclass(frozen=True)
class TwinPhrase:
    """A phrase of a study, its category, and its boxes."""

    category: str
    text: str
    boxes: tuple[Box, ...]


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin; only studies with a phrase of the publisher's categories are in it."""
    rows: list[list[Cell]] = []
    studies = [study for study in twin_studies(config) if phrases(study)]
    for study in studies:
        folder, dicom_id = study_folder(study), dicom_name(config, study)
        path = f"{folder}/{dicom_id}.jpg"
        write_jpeg(out / path, study.pixels)
        if has_report(study):
            write_lines(out / f"{folder}.txt", study.report.text)
        height, width = study.pixels.shape
        for phrase in phrases(study):
            rows += [
                [dicom_id, phrase.category, phrase.text, path, *_whole(box), width, height] for box in phrase.boxes
            ]
    write_table(out / "MS_CXR_Local_Alignment_v1.0.0.csv", COLUMNS, rows)
    counts = {
        "studies": len(studies),
        "patients": len({study.patient for study in studies}),
        "phrases": sum(len(phrases(study)) for study in studies),
    }
    return ExpectedCounts(counts=counts)


def phrases(study: TwinStudy) -> list[TwinPhrase]:
    """The study's phrases of the publisher's categories that have boxes, each wording once."""
    found: dict[tuple[str, str], TwinPhrase] = {}
    for region in study.phrases:
        text = region.span.of(study.report.text)
        if region.label in CATEGORIES and region.boxes:
            found.setdefault((region.label, text), TwinPhrase(region.label, text, region.boxes))
    return list(found.values())


def study_folder(study: TwinStudy) -> str:
    """Where MIMIC-CXR-JPG keeps the study's films."""
    patient = f"p{10_000_000 + study.patient}"
    return f"files/{patient[:3]}/{patient}/s{50_000_000 + study.number}"


def dicom_name(config: TwinConfig, study: TwinStudy) -> str:
    """The film's name: five groups of eight hexadecimal digits."""
    digits = twin_digest("mimic", config.seed, study.number)
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def has_report(study: TwinStudy) -> bool:
    """Whether the twin has the study's report."""
    return study.number % 2 == 0


def _whole(box: Box) -> tuple[int, int, int, int]:
    return int(box.x_min), int(box.y_min), int(box.x_max - box.x_min), int(box.y_max - box.y_min)
