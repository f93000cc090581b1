"""A DICOM file's header without its pixels: what it is, whose, and whether it is a film at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from crossray.data.dicom_file import count_of, malformed_as_study_error, open_dicom, text_of
from crossray.data.dicom_view import ViewFinding, view_of
from crossray.data.person_names import name_spellings
from crossray.data.study import View

#: Texts that may name the view, in the order in which they are asked.
DESCRIPTIONS = (
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionDeviceProcessingDescription",
    "PerformedProcedureStepDescription",
)

_TEXTS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID", "Modality", "BodyPartExamined",
    "PresentationIntentType", "ImageType", "PhotometricInterpretation",
)  # fmt: skip
_OTHERS = ("Rows", "Columns", "NumberOfFrames", "ViewPosition", "ViewCodeSequence", "PatientName", "OtherPatientNames")


@dataclass(frozen=True)
class DicomHeader:
    """What a header says. Texts are stripped and ``""`` where absent; sizes are 0 where absent.

    ``key`` is the value of the attribute that links films with reports. ``name_words`` are the words of the
    patient's name: they serve to keep the name out of what is written, and are themselves never written or printed.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    accession_number: str
    patient_id: str
    modality: str
    body_part: str
    presentation_intent: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    frames: int
    view: View
    view_source: str
    view_contradiction: str
    key: str
    name_words: frozenset[str] = field(default=frozenset(), repr=False)


def read_header(path: Path, key: str = "AccessionNumber") -> DicomHeader:
    """The header of a DICOM file; pixels are not read.

    Args:
        path: the file.
        key: keyword of the attribute to put into ``key``.

    Raises:
        StudyError: the file is missing, empty, damaged, or not DICOM.
    """
    dataset = open_dicom(path, tags=sorted({*_TEXTS, *_OTHERS, *DESCRIPTIONS, key}))
    with malformed_as_study_error(path):
        finding = _view(dataset)
        return DicomHeader(
            sop_class_uid=text_of(dataset, "SOPClassUID"),
            sop_instance_uid=text_of(dataset, "SOPInstanceUID"),
            study_instance_uid=text_of(dataset, "StudyInstanceUID"),
            accession_number=text_of(dataset, "AccessionNumber"),
            patient_id=text_of(dataset, "PatientID"),
            modality=text_of(dataset, "Modality").upper(),
            body_part=text_of(dataset, "BodyPartExamined").upper(),
            presentation_intent=text_of(dataset, "PresentationIntentType").upper(),
            image_type=tuple(part.upper() for part in text_of(dataset, "ImageType").split("\\") if part),
            rows=count_of(dataset, "Rows", path, default=0),
            columns=count_of(dataset, "Columns", path, default=0),
            frames=count_of(dataset, "NumberOfFrames", path, default=1),
            view=finding.view,
            view_source=finding.source,
            view_contradiction=finding.contradiction,
            key=text_of(dataset, key),
            name_words=name_words(dataset),
        )


def _view(dataset: Dataset) -> ViewFinding:
    codes = [
        (text_of(item, "CodeValue"), text_of(item, "CodeMeaning")) for item in dataset.get("ViewCodeSequence") or ()
    ]
    return view_of(
        text_of(dataset, "ViewPosition"), codes, {keyword: text_of(dataset, keyword) for keyword in DESCRIPTIONS}
    )


def name_words(dataset: Dataset) -> frozenset[str]:
    """Words of the patient's names in a data set, as :func:`crossray.data.person_names.name_spellings`."""
    names = "=".join(text_of(dataset, keyword) for keyword in ("PatientName", "OtherPatientNames"))
    return name_spellings(names, text_of(dataset, "PatientID"))
