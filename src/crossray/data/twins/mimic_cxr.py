"""The layout twin of MIMIC-CXR-JPG 2.0.0 with the reports of MIMIC-CXR; every eighth study has DICOM films instead."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from crossray.data.findings import FINDINGS
from crossray.data.sources.expected import ExpectedCounts
from crossray.data.sources.mimic_files import METADATA, RECORDS, SPLIT, label_table
from crossray.data.twins.files import Cell, twin_digest, twin_uid, write_dicom, write_jpeg, write_lines, write_table
from crossray.data.twins.marks import positives, twin_marks
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

METADATA_HEADER = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns",
    "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip
_VIEW_MEANINGS = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral", "LL": "left lateral"}
#: The labels' tables name the classes by the alphabet.
LABEL_HEADER = ("subject_id", "study_id", *sorted(FINDINGS))
_RULE = "_" * 78


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin into the empty folder ``out``."""
    studies = twin_studies(config)
    counts: Counter[str] = Counter(studies=len(studies), patients=len({study.patient for study in studies}))
    metadata: list[list[Cell]] = []
    split: list[list[Cell]] = []
    records: list[list[Cell]] = []
    labels: list[list[Cell]] = []
    for study in studies:
        subject, number = subject_id(study), study_id(study)
        for view in film_views(study):
            dicom_id = film_id(study, view)
            _write_film(out, study, view)
            metadata.append(_metadata_row(study, view))
            split.append([dicom_id, number, subject, split_of(study)])
            records.append([subject, number, dicom_id, f"{study_folder(study)}/{dicom_id}.dcm"])
            counts["images"] += 1
        write_lines(out / f"{study_folder(study)}.txt", report_text(study))
        marks = twin_marks(study, config.seed)
        labels.append([subject, number, *(marks[name] for name in sorted(FINDINGS))])
        counts.update(positives(marks))
    write_table(out / METADATA[0], METADATA_HEADER, metadata)
    write_table(out / SPLIT[0], ("dicom_id", "study_id", "subject_id", "split"), split)
    write_table(out / RECORDS[0], ("subject_id", "study_id", "dicom_id", "path"), records)
    for labeller in ("chexpert", "negbio"):
        write_table(out / label_table(labeller)[0], LABEL_HEADER, labels)
    return ExpectedCounts(counts=dict(counts))


def subject_id(study: TwinStudy) -> str:
    """The patient's number, eight digits."""
    return str(10_000_032 + 100_003 * study.patient)


def study_id(study: TwinStudy) -> str:
    """The study's number, eight digits."""
    return str(50_414_267 + study.number)


def study_folder(study: TwinStudy) -> str:
    """``files/p10/p10000032/s50414267``."""
    subject = subject_id(study)
    return f"files/p{subject[:2]}/p{subject}/s{study_id(study)}"


def film_id(study: TwinStudy, view: str) -> str:
    """A film's name: five groups of eight hexadecimal digits."""
    digits = twin_digest("mimic_cxr", study.number, view)
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def film_views(study: TwinStudy) -> list[str]:
    """ViewPosition of each film: a frontal one, a lateral one of every second study, an oblique one of every fifth."""
    views = [study.view_position]
    if study.number % 2 == 0:
        views.append("LATERAL" if study.number % 4 else "LL")
    return [*views, *(["LAO"] if study.number % 5 == 4 else [])]


def split_of(study: TwinStudy) -> str:
    """Where the publisher's split puts a study's patient."""
    return {3: "validate", 4: "test"}.get(study.patient % 5, "train")


def is_dicom(study: TwinStudy) -> bool:
    """Whether the study's films are DICOM files."""
    return study.number % 8 == 7


def report_text(study: TwinStudy) -> str:
    """The report in the forms that the publisher's hospital used over the years."""
    findings, impression = study.section("findings"), study.section("impression")
    history = f" {('INDICATION', 'HISTORY')[study.number % 2]}:  {study.section('indication') or '___'}"
    comparison = f" COMPARISON:  {study.section('comparison') or '___'}"
    title = " " * 33 + "FINAL REPORT"
    if study.number % 3 == 0:
        head = [title, f" EXAMINATION:  CHEST ({study.view_position})", " ", history, " ", " TECHNIQUE:  Chest.", " "]
        body = [comparison, " ", " FINDINGS: ", " ", f" {findings}", " ", " IMPRESSION: ", " ", f" {impression}", ""]
        return "\n".join([*head, *body])
    if study.number % 3 == 1:
        wet = [" WET READ: ___ ___ 9:43 PM", "  Lines and tubes as seen.", "  WET READ VERSION #1 ", f" {_RULE}"]
        named = f" PORTABLE FRONTAL VIEW OF THE CHEST:  {findings}"
        return "\n".join([*wet, title, history, " ", comparison, " ", named, " ", f" IMPRESSION:  {impression}", ""])
    # No heading before the findings: a new paragraph.
    return "\n".join([title, history, " ", comparison, " ", f" {findings}", " ", f" IMPRESSION:  {impression}", ""])


def _write_film(out: Path, study: TwinStudy, view: str) -> None:
    pixels = study.pixels if view == study.view_position else study.lateral
    path = out / study_folder(study) / film_id(study, view)
    if is_dicom(study):
        uid = twin_uid("mimic_cxr", study_id(study))
        write_dicom(
            path.with_suffix(".dcm"), pixels, PatientID=subject_id(study), StudyInstanceUID=uid, ViewPosition=view
        )
    else:
        write_jpeg(path.with_suffix(".jpg"), pixels)


def _metadata_row(study: TwinStudy, view: str) -> list[Cell]:
    height, width = (study.pixels if view == study.view_position else study.lateral).shape
    procedure = "CHEST (PORTABLE AP)" if view == "AP" else "CHEST (PA AND LAT)"
    date, time = 21_800_506 + study.visit, f"{213_014.5 + study.number:.3f}"
    ids = [film_id(study, view), subject_id(study), study_id(study)]
    return [*ids, procedure, view, height, width, date, time, procedure, _VIEW_MEANINGS.get(view), "Erect"]
