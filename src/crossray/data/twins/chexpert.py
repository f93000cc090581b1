"""The layout twin of CheXpert v1.0 (small), with its test set and the table of CheXpert Plus."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from crossray.data.findings import FINDINGS
from crossray.data.sources.chexpert_reports import REPORT_TABLE
from crossray.data.sources.expected import ExpectedCounts
from crossray.data.twins.files import write_jpeg, write_table
from crossray.data.twins.marks import certain, positives, twin_marks
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

NAME_OF_DOWNLOAD = "CheXpert-v1.0-small"
TABLE_HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)
PLUS_HEADER = (
    "path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order",
    "report", "section_narrative", "section_clinical_history", "section_history", "section_comparison",
    "section_technique",
    "section_procedure_comments", "section_findings", "section_impression", "section_end_of_impression",
    "section_summary", "section_accession_number", "age", "sex", "race", "ethnicity", "interpreter_needed",
    "insurance_type", "recent_bmi", "deceased", "split",
)  # fmt: skip


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin into the empty folder ``out``."""
    studies = twin_studies(config)
    counts: Counter[str] = Counter(studies=len(studies), patients=len({study.patient for study in studies}))
    tables: dict[str, list[list[str]]] = {"train": [], "valid": [], "test": []}
    reports: list[list[str]] = []
    for study in studies:
        split = split_of(study)
        marks = twin_marks(study, config.seed) if split == "train" else certain(study)
        counts.update(positives(marks))
        for path in film_paths(study):
            lateral = "lateral" in path
            write_jpeg(out / path, study.lateral if lateral else study.pixels)
            counts["images"] += 1
            facts = _facts(study, lateral)
            # The test set's table has no facts of the patients.
            cells = facts if split != "test" else []
            tables[split].append([f"{NAME_OF_DOWNLOAD}/{path}" if split != "test" else path, *cells, *marks.values()])
            if split != "test":
                reports.append(_plus_row(study, path, facts, split))
    for split, rows in tables.items():
        header = TABLE_HEADER if split != "test" else ("Path", *FINDINGS)
        write_table(out / f"{split}.csv", header, rows)
    write_table(out / REPORT_TABLE, PLUS_HEADER, reports)
    for split in ("train", "valid"):  # a small twin may have no patient in one
        (out / split).mkdir(exist_ok=True)
    return ExpectedCounts(counts=dict(counts))


def split_of(study: TwinStudy) -> str:
    """The part of the set that a study's patient is in."""
    return {4: "valid", 5: "test"}.get(study.patient % 6, "train")


def study_folder(study: TwinStudy) -> str:
    """``patient00001/study1``."""
    return f"patient{study.patient + 1:05d}/study{study.visit + 1}"


def film_paths(study: TwinStudy) -> list[str]:
    """The study's films: a frontal one, and a lateral one of every third study."""
    names = ["view1_frontal.jpg", *(["view2_lateral.jpg"] if study.number % 3 == 0 else [])]
    return [f"{split_of(study)}/{study_folder(study)}/{name}" for name in names]


def has_sections(study: TwinStudy) -> bool:
    """Whether the table of reports gives a study's sections, or its whole text alone."""
    return study.number % 7 != 6


def report_text(study: TwinStudy) -> str:
    """The report in the form of the publisher's hospital."""
    return (
        "NARRATIVE:\nRADIOGRAPHIC EXAMINATION OF THE CHEST: 1/1/2001 \n \n"
        f"CLINICAL HISTORY: {study.section('indication') or 'Chest pain.'} \n \n"
        f"COMPARISON: {study.section('comparison') or 'None.'} \n \n"
        f"FINDINGS: {study.section('findings')} \n \n"
        f"IMPRESSION: \n \n1. {study.section('impression')} \n \n"
        "SUMMARY:1-NO SIGNIFICANT ABNORMALITY \n \nEND OF IMPRESSION: \n \n"
    )


def _facts(study: TwinStudy, lateral: bool) -> list[str]:
    view = ["Lateral", ""] if lateral else ["Frontal", study.view_position]
    return [{"F": "Female", "M": "Male"}[study.sex], str(study.age), *view]


def _plus_row(study: TwinStudy, path: str, facts: list[str], split: str) -> list[str]:
    sex, age, view, position = facts
    sections = {}
    if has_sections(study):
        sections = {
            "section_clinical_history": study.section("indication"),
            "section_comparison": study.section("comparison"),
            "section_findings": study.section("findings"),
            "section_impression": study.section("impression"),
        }
    cells = sections | {
        "path_to_image": path,
        "path_to_dcm": path.replace(".jpg", ".dcm"),
        "frontal_lateral": view,
        "ap_pa": position,
        "deid_patient_id": path.split("/")[1],
        "patient_report_date_order": str(study.visit + 1),
        "report": report_text(study),
        "section_summary": "1-NO SIGNIFICANT ABNORMALITY",
        "age": f"{age}.0",
        "sex": sex,
        "split": split,
    }
    return [cells.get(name, "") for name in PLUS_HEADER]
