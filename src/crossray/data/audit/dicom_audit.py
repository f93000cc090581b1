"""DICOM attributes that identify people, in the files of a folder: the whole table of the confidentiality profile.

UIDs, times of day, characteristics such as sex and age, and descriptors such as ``ProtocolName`` are told, not failed:
the profile has options to keep them. A descriptor that holds an identifier or a word of the patient's name fails.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

from pydicom import Dataset, Sequence

from crossray.data.audit.confidentiality_profile import Kind, kind_of
from crossray.data.audit.finding import Audit, Finding, Places, finding
from crossray.data.audit.identifiers import identifiers_in
from crossray.data.dicom_file import malformed_as_study_error, open_dicom
from crossray.data.dicom_header import name_words
from crossray.data.export_walk import files_below
from crossray.errors import DataError, StudyError

_MEANINGS: Mapping[Kind, str] = {
    "identifies": "files with it: it identifies, or may",
    "date": "files with it: a date",
    "uid": "files with it: the profile replaces UIDs",
    "time": "files with it: a time of day, which the profile removes too",
    "characteristic": "files with it: the profile's option keeps it where it is needed",
    "descriptor": "files with it: the profile removes it, or cleans it",
}
_FAILING: frozenset[Kind] = frozenset(("identifies", "date"))
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
    files = sorted(path for name in files_below(folder).files if (path := folder / name).is_file())
    places: dict[tuple[str, Kind], Places] = defaultdict(Places)
    unread = 0
    for number, path in enumerate(files, start=1):
        try:
            dataset = open_dicom(path, pixels=False)
            with malformed_as_study_error(path):
                found = _attributes(dataset)
        except StudyError:
            unread += 1
            continue
        for name_and_kind in found.items():
            places[name_and_kind].add(f"file {number}")
    if unread == len(files):
        raise DataError("holds no DICOM file that can be read.", file=folder, remedy="Give a folder of DICOM files.")
    read = len(files) - unread
    findings = (
        finding(name, where, read, _MEANINGS[kind], fails=kind in _FAILING)
        for (name, kind), where in sorted(places.items())
    )
    return Audit(str(folder), (*findings, _skipped(files, unread)))


def _attributes(dataset: Dataset) -> dict[str, Kind]:
    """Names of what a file has of the table, and of which kind each is."""
    found: dict[str, Kind] = {}
    names = name_words(dataset)
    for element in (*dataset.file_meta, *dataset.iterall()):
        if element.tag.is_private:
            found["private attribute"] = "identifies"
            continue
        kind = kind_of(element)
        if kind is None or not _says_something(element.value):
            continue
        name = element.keyword or f"attribute {element.tag}"
        found[name] = kind
        if kind == "descriptor" and _identifies(str(element.value), names):
            found[f"{name} with an identifier"] = "identifies"
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES":
        found["BurnedInAnnotation"] = "identifies"
    return found


def _identifies(text: str, names: Collection[str]) -> bool:
    return bool(identifiers_in(text)) or not set(re.split(r"[\W_\d]+", text.casefold())).isdisjoint(names)


def _says_something(value: object) -> bool:
    if isinstance(value, Sequence):
        return len(value) > 0
    return value is not None and str(value).strip(" ^\0").lower() not in _EMPTY


def _skipped(files: list[Path], unread: int) -> Finding:
    return finding("not DICOM, passed over", (), len(files), "files that were not looked at", fails=False, found=unread)
