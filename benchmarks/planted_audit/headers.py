"""DICOM files with one identifying attribute each, and files with what only looks like one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from crossray.data.audit.confidentiality_profile import profile

_TEXTS = {
    "PN": "Roe^Jane", "LO": "Elsewhere 88421", "SH": "QU88421", "ST": "Marigold", "LT": "Marigold", "UT": "Marigold",
    "CS": "QUIMBLETON", "AE": "ROOM7", "DS": "88421", "IS": "88421",
}  # fmt: skip
_DATES = {"DA": "20190314", "DT": "20190314103200"}
_OF_ONE_KIND = 40


@dataclass(frozen=True)
class Header:
    """A data set with a plant or a near miss in it, as :class:`benchmarks.planted_audit.cases.Case`."""

    kind: str
    form: str
    planted: bool
    dataset: Dataset


def headers() -> Iterator[Header]:
    """Each kind of attribute, every third one inside of a sequence, and attributes that may stay."""
    rng = random.Random(3)
    for kind, values in (("DICOM: name, id, place, comment", _TEXTS), ("DICOM: date", _DATES)):
        for number, tag in enumerate(rng.sample(_tags(values), _OF_ONE_KIND)):
            element = DataElement(tag, dictionary_VR(tag), values[dictionary_VR(tag)])
            yield Header(kind, keyword_for_tag(tag), True, _holding([element], nested=number % 3 == 2))
    yield from _private(rng)
    yield from _descriptions()
    for number, (form, elements) in enumerate(_MAY_STAY.items()):
        listed = [_element(keyword, value) for keyword, value in elements.items()]
        yield Header("DICOM: name, id, place, comment", form, False, _holding(listed, nested=number % 3 == 2))
    for form, keyword, value in _NO_DATES:
        yield Header("DICOM: date", form, False, _holding([_element(keyword, value)], nested=False))


def _tags(values: dict[str, str]) -> list[int]:
    """Tags of the table that hold such a value, but for those that the audit reads as descriptions or characteristics,
    or that stand behind the pixels."""
    known = (int(tag, 16) for tag, action in profile().items() if "x" not in tag and "U" not in action)
    stays = ("Description", "Label", "ProtocolName", "PatientSex", "Smoking", "Pregnancy", "PatientSize", "Weight")
    editions = ("ContextGroupVersion", "ContextGroupLocalVersion")
    return [
        tag
        for tag in known
        if dictionary_has_tag(tag)
        and dictionary_VR(tag) in values
        and 0x00080000 <= tag < 0x7FE00000
        and not any(word in keyword_for_tag(tag) for word in (*stays, *editions))
    ]


def _private(rng: random.Random) -> Iterator[Header]:
    for number in range(_OF_ONE_KIND):
        group = rng.randrange(0x0009, 0x6000, 2)
        elements = [
            DataElement((group, 0x0010), "LO", f"MAKER {number}"),
            DataElement((group, 0x1000 + number), rng.choice(("LO", "SH", "UT")), "Roe"),
        ]
        where = "nested" if number % 3 == 2 else "at the top"
        yield Header("DICOM: private attribute", where, True, _holding(elements, nested=number % 3 == 2))


_DESCRIBING = ("ProtocolName", "SeriesDescription", "StudyDescription", "PerformedProcedureStepDescription")
_IDENTIFYING = (
    "Chest Jane", "Chest QUIMBLETON", "quimbleton chest", "Quimbleton_Jane", "14.03.2019", "Thorax 03/14/2019",
    "MRN 88421907", "Dr. Roe chest", "call 555-867-5309", "jane@hospital.example",
)  # fmt: skip
_DESCRIPTIVE = (
    "CHEST PA", "Thorax p.a. T12", "DR Chest 2 views", "Chest AP/LAT 12/5 mm grid", "Portable chest, sitting",
    "W033 Tibia a.p.", "Thorax Liege 90 kV", "C3-4 lateral", "MR Thorax scout",
)  # fmt: skip


def _descriptions() -> Iterator[Header]:
    kind = "DICOM: identifier in a description"
    for planted, texts in ((True, _IDENTIFYING), (False, _DESCRIPTIVE)):
        for text in texts:
            for keyword in _DESCRIBING:
                # The name is a plant of its own: what it makes the audit say is not counted here.
                named = [_element("PatientName", "Quimbleton^Jane")] if planted else []
                yield Header(kind, text, planted, _holding([_element(keyword, text), *named], nested=False))


_MAY_STAY: dict[str, dict[str, str]] = {
    "empty": {"PatientName": "", "PatientID": "", "AccessionNumber": ""},
    "anonymous": {"PatientName": "Anonymous", "PatientID": "ANONYMIZED"},
    "removed": {"PatientName": "REMOVED", "InstitutionName": "removed"},
    "deidentified": {"PatientID": "DEIDENTIFIED", "OperatorsName": "Anonymised"},
    "carets alone": {"PatientName": "^^^^"},
    "none": {"ReferringPhysicianName": "None", "StationName": "UNKNOWN"},
    "sex": {"PatientSex": "F"},
    "age": {"PatientAge": "063Y"},
    "size and weight": {"PatientSize": "1.72", "PatientWeight": "71"},
    "smoker": {"SmokingStatus": "NO"},
    "times": {"StudyTime": "103200", "ContentTime": "103201"},
    "UIDs": {"StudyInstanceUID": "1.2.3.4", "FrameOfReferenceUID": "1.2.3.5"},
    "modality": {"Modality": "DX", "BodyPartExamined": "CHEST"},
    "view": {"ViewPosition": "PA", "PatientOrientation": "L\\F"},
    "maker": {"Manufacturer": "Some Maker", "ManufacturerModelName": "Some Model"},
    "exposure": {"KVP": "120", "ExposureTime": "12", "XRayTubeCurrent": "250"},
    "no writing": {"BurnedInAnnotation": "NO"},
    "de-identified": {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "PS3.15"},
    "an edition of codes": {"ContextGroupVersion": "20190314"},
    "picture": {"ImageType": "DERIVED\\PRIMARY", "PhotometricInterpretation": "MONOCHROME2"},
    "window": {"WindowCenter": "2000", "WindowWidth": "1000"},
    "spacing": {"ImagerPixelSpacing": "0.14\\0.14"},
    "numbers": {"SeriesNumber": "3", "InstanceNumber": "14", "AcquisitionNumber": "1"},
    "laterality": {"ImageLaterality": "L"},
    "code": {"CodeValue": "R-10206", "CodeMeaning": "postero-anterior", "CodingSchemeDesignator": "SNM3"},
    "grid": {"Grid": "FOCUSED"},
    "character set": {"SpecificCharacterSet": "ISO_IR 192"},
    "dose": {"EntranceDoseInmGy": "0.3", "ExposureIndex": "1850"},
    "detector": {"DetectorType": "DIRECT", "Sensitivity": "400"},
    "processing": {"BitsStored": "12"},
}  # fmt: skip
_NO_DATES = tuple(("empty date", keyword, "") for keyword in ("StudyDate", "PatientBirthDate", "SeriesDate")) + tuple(
    ("an edition of codes", keyword, f"20{year:02d}0101")
    for keyword in ("ContextGroupVersion", "ContextGroupLocalVersion")
    for year in range(6, 20)
)


def _element(keyword: str, value: str) -> DataElement:
    made = Dataset()
    setattr(made, keyword, int(value) if keyword == "BitsStored" else value.split("\\") if "\\" in value else value)
    return made[keyword]


def _holding(elements: Sequence[DataElement], *, nested: bool) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = 8, 8
    holder = Dataset() if nested else dataset
    for element in elements:
        holder.add(element)
    if nested:
        dataset.ViewCodeSequence = [holder]
    return dataset


def write_headers(folder: Path) -> list[Header]:
    """Write every header as a file; the audit counts files in the order of the list."""
    folder.mkdir()
    written = list(headers())
    for number, header in enumerate(written):
        header.dataset.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)
    return written
