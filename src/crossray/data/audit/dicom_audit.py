"""DICOM attributes that identify people, in the files of a folder.

The attributes are those of the Basic Application Level Confidentiality Profile (DICOM PS3.15, table E.1-1) that
headers of radiographs carry; UIDs and dates are counted by themselves, since the profile has options to keep them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from pydicom import Dataset

from crossray.data.audit.finding import Audit, Finding, finding
from crossray.data.dicom_file import malformed_as_study_error, open_dicom
from crossray.errors import DataError, StudyError

#: Removed or emptied by the basic profile.
IDENTIFYING = frozenset(
    [
        "AccessionNumber",
        "AdditionalPatientHistory",
        "AdmissionID",
        "AdmittingDiagnosesDescription",
        "AffectedSOPInstanceUID",
        "Allergies",
        "BranchOfService",
        "CassetteID",
        "CountryOfResidence",
        "CurrentPatientLocation",
        "CustodialOrganizationSequence",
        "DerivationDescription",
        "DetectorID",
        "DeviceSerialNumber",
        "EthnicGroup",
        "FillerOrderNumberImagingServiceRequest",
        "GantryID",
        "ImageComments",
        "InstitutionAddress",
        "InstitutionCodeSequence",
        "InstitutionName",
        "InstitutionalDepartmentName",
        "IssuerOfPatientID",
        "MedicalAlerts",
        "MedicalRecordLocator",
        "MilitaryRank",
        "NameOfPhysiciansReadingStudy",
        "NamesOfIntendedRecipientsOfResults",
        "Occupation",
        "OperatorsName",
        "OperatorIdentificationSequence",
        "OtherPatientIDs",
        "OtherPatientIDsSequence",
        "OtherPatientNames",
        "PatientAddress",
        "PatientBirthDate",
        "PatientBirthName",
        "PatientBirthTime",
        "PatientComments",
        "PatientID",
        "PatientInsurancePlanCodeSequence",
        "PatientMotherBirthName",
        "PatientName",
        "PatientReligiousPreference",
        "PatientState",
        "PatientTelecomInformation",
        "PatientTelephoneNumbers",
        "PerformedLocation",
        "PerformedProcedureStepID",
        "PerformedStationName",
        "PerformingPhysicianName",
        "PerformingPhysicianIdentificationSequence",
        "PersonAddress",
        "PersonName",
        "PersonTelephoneNumbers",
        "PhysiciansOfRecord",
        "PhysiciansReadingStudyIdentificationSequence",
        "PlacerOrderNumberImagingServiceRequest",
        "PlateID",
        "PregnancyStatus",
        "ProtocolName",
        "ReferringPhysicianAddress",
        "ReferringPhysicianName",
        "ReferringPhysicianTelephoneNumbers",
        "ReferringPhysicianIdentificationSequence",
        "RegionOfResidence",
        "RequestedProcedureID",
        "RequestingPhysician",
        "RequestingService",
        "ResponsibleOrganization",
        "ResponsiblePerson",
        "ScheduledPerformingPhysicianName",
        "ScheduledProcedureStepID",
        "ScheduledStationName",
        "ServiceEpisodeID",
        "SmokingStatus",
        "SpecialNeeds",
        "StationName",
        "StudyComments",
        "StudyID",
        "TextComments",
        "VerifyingObserverName",
        "VisitComments",
    ]
)
_DATES = frozenset(
    [
        "StudyDate",
        "SeriesDate",
        "AcquisitionDate",
        "ContentDate",
        "AcquisitionDateTime",
        "PerformedProcedureStepStartDate",
        "AdmittingDate",
        "InstanceCreationDate",
        "DateOfSecondaryCapture",
        "LastMenstrualDate",
    ]
)
_UIDS = frozenset((
    "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "DeviceUID",
))  # fmt: skip
_EMPTY = frozenset(("", "anonymous", "anonymized", "anonymised", "removed", "deidentified", "none", "unknown"))


def audit_dicom(folder: Path) -> Audit:
    """Identifying attributes, private attributes, dates and UIDs of every DICOM file below a folder.

    Values and file names are never told: files are named by their number in sorted order. Files that are not DICOM
    are passed over, and counted.

    Raises:
        DataError: there is no such folder, or no DICOM file in it.
    """
    if not folder.is_dir():
        raise DataError("there is no such folder.", file=folder, remedy="Give a store, or a folder of DICOM files.")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    places: dict[str, list[str]] = defaultdict(list)
    unread = 0
    for number, path in enumerate(files, start=1):
        try:
            dataset = open_dicom(path, pixels=False)
            with malformed_as_study_error(path):
                found = _attributes(dataset)
        except StudyError:
            unread += 1
            continue
        for kind in found:
            places[kind].append(f"file {number}")
    if unread == len(files):
        raise DataError("holds no DICOM file that can be read.", file=folder, remedy="Give a folder of DICOM files.")
    read = len(files) - unread
    return Audit(
        str(folder), (*(_finding(kind, places[kind], read) for kind in sorted(places)), _skipped(files, unread))
    )


def _attributes(dataset: Dataset) -> Counter[str]:
    found: Counter[str] = Counter()
    for element in dataset.iterall():
        if element.tag.is_private:
            found["private attribute"] += 1
        elif element.keyword in IDENTIFYING | _DATES | _UIDS and _says_something(element.value):
            found[element.keyword] += 1
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        found["BurnedInAnnotation"] += 1
    return found


def _says_something(value: object) -> bool:
    return value is not None and str(value).strip(" ^\0").lower() not in _EMPTY


def _finding(kind: str, places: list[str], read: int) -> Finding:
    if kind in _UIDS:
        return finding(kind, places, read, "files with it: the profile replaces UIDs", fails=False)
    meaning = "files with it: a date" if kind in _DATES else "files with it: it identifies, or may"
    return finding(kind, places, read, meaning)


def _skipped(files: list[Path], unread: int) -> Finding:
    return finding("not DICOM, passed over", (), len(files), "files that were not looked at", fails=False, found=unread)
