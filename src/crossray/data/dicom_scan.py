"""What lies in a hospital's export: every file's header read side by side, each a film or refused by a named rule."""

from __future__ import annotations

import multiprocessing
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path

from pydicom.config import IGNORE
from pydicom.uid import UID

from crossray.data.dicom_file import looks_like_dicom, read_start
from crossray.data.dicom_header import DicomHeader, read_header
from crossray.data.export_walk import files_below
from crossray.data.study import View
from crossray.errors import DataError, StudyError

_COMPUTED = "1.2.840.10008.5.1.4.1.1.1"
_DIGITAL = "1.2.840.10008.5.1.4.1.1.1.1"
_DIGITAL_RAW = "1.2.840.10008.5.1.4.1.1.1.1.1"
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_DIRECTORY = "1.2.840.10008.1.3.10"
_PRESENTATION_STATES = "1.2.840.10008.5.1.4.1.1.11."
_STRUCTURED_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
# OT and an empty modality stand on secondary captures of films; DR is no DICOM term, but some makers write it.
_FILM_MODALITIES = ("CR", "DX", "RG", "DR", "OT", "")
_FILES_A_TASK = 64


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """One file of the export: a film (``rule`` is ``""``), or refused by ``rule`` with a ``reason``.

    ``path`` is relative to the export; words of the patient's name in it are masked where the file was refused.
    ``doubt`` is ``""`` or a sentence on what is odd about a film that is used.
    """

    path: str
    rule: str = ""
    reason: str = ""
    key: str = ""
    patient_id: str = ""
    sop_instance_uid: str = ""
    view: View = "unknown"
    doubt: str = ""


def scan_export(
    folder: Path, key: str, *, leave_out: Sequence[Path] = (), workers: int = 1, show: Callable[[int, int], None]
) -> list[ScannedFile]:
    """Every file below ``folder``, in the order of the paths whatever the number of workers.

    Args:
        folder: the export.
        key: keyword of the DICOM attribute that links films with reports.
        leave_out: files and folders that are no part of the export, such as the reports.
        workers: processes that read headers; 1 reads in this process.
        show: told how many files are done, of how many.

    Raises:
        DataError: the folder is missing or empty, a folder in it cannot be listed, or a worker was killed.
    """
    found = files_below(folder, leave_out)
    passed = [ScannedFile(path, "linked_folder", reason) for path, reason in found.linked_folders.items()]
    passed += [ScannedFile(path, "no_file", "is a pipe, socket or device, not a file.") for path in found.no_files]
    if not found.files:
        raise DataError("holds no files.", file=folder, remedy="Give the folder with the exported DICOM files.")
    return sorted([*_scanned(folder, found.files, key, workers, show), *passed], key=attrgetter("path"))


def _scanned(
    folder: Path, paths: Sequence[str], key: str, workers: int, show: Callable[[int, int], None]
) -> list[ScannedFile]:
    scan = partial(scan_file, folder, key=key)
    if workers <= 1 or len(paths) <= _FILES_A_TASK:
        return _counted(map(scan, paths), len(paths), show)
    # Spawned, not forked: threads of the parent could leave a forked child with a lock that nobody opens.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context) as pool:
            return _counted(pool.map(scan, paths, chunksize=_FILES_A_TASK), len(paths), show)
    except BrokenProcessPool as error:
        raise DataError("a worker process was killed.", remedy="Run again with fewer --workers.") from error


def scan_file(folder: Path, path: str, *, key: str) -> ScannedFile:
    """One file: a film, or refused by a rule. Never raises for what the file holds."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return ScannedFile(ascii(path), "file_name", "the file's name is not UTF-8: rename it.")
    try:
        if not looks_like_dicom(read_start(folder / path)):
            return ScannedFile(path, "not_dicom", "is not a DICOM file.")
        header = read_header(folder / path, key)
    except StudyError as error:
        return ScannedFile(path, "unreadable", error.problem)
    refusal = _refusal(header, path, key)
    if refusal is not None:
        return ScannedFile(_masked(path, header), *refusal, key=header.key)
    doubt = ""
    if header.view_contradiction:
        doubt = f"{header.view_source} says {header.view}, {header.view_contradiction} says otherwise."
    return ScannedFile(path, "", "", header.key, header.patient_id, header.sop_instance_uid, header.view, doubt)


def _refusal(header: DicomHeader, path: str, key: str) -> tuple[str, str] | None:
    """The first rule that refuses a file, and the reason in words."""
    document = _document_rule(header)
    if document is not None:
        return document, f"SOP class {_class_name(header)}, Modality {header.modality or 'empty'}."
    if header.sop_class_uid == _DIGITAL_RAW or header.presentation_intent == "FOR PROCESSING":
        return "for_processing", "raw detector values (FOR PROCESSING): export the film for presentation."
    if "LOCALIZER" in header.image_type:
        return "localiser", f"ImageType {' '.join(header.image_type)}."
    if header.sop_class_uid not in (_COMPUTED, _DIGITAL, _SECONDARY, ""):
        return "not_a_radiograph", f"SOP class {_class_name(header)}."
    if header.modality not in _FILM_MODALITIES:
        return "not_a_radiograph", f"Modality {header.modality}."
    if header.rows < 1 or header.columns < 1:
        return "no_pixels", "Rows or Columns is absent."
    if header.frames > 1:
        return "several_frames", f"NumberOfFrames is {header.frames}: a film has one."
    if not header.key:
        return "no_key", f"{key} is empty: nothing links the film with a report."
    if _name_in(path, header):
        return "name_in_path", "the path holds the patient's name: rename the folders, so that it is not written down."
    return None


def _document_rule(header: DicomHeader) -> str | None:
    if header.sop_class_uid == _DIRECTORY:
        return "directory"
    if header.sop_class_uid.startswith(_PRESENTATION_STATES) or header.modality == "PR":
        return "presentation_state"
    if header.sop_class_uid.startswith(_STRUCTURED_REPORTS) or header.modality in ("SR", "KO", "DOC"):
        return "structured_report"
    return None


def _class_name(header: DicomHeader) -> str:
    name: str = UID(header.sop_class_uid, IGNORE).name
    return name


def _name_in(path: str, header: DicomHeader) -> bool:
    words = re.split(r"[\W_\d]+", unicodedata.normalize("NFC", path).lower())
    return not header.name_words.isdisjoint(words)


def _masked(path: str, header: DicomHeader) -> str:
    for word in sorted(header.name_words, key=len, reverse=True):
        path = re.sub(rf"(?<![^\W\d_]){re.escape(word)}(?![^\W\d_])", "***", path, flags=re.IGNORECASE)
    return path


def _counted(files: Iterator[ScannedFile], total: int, show: Callable[[int, int], None]) -> list[ScannedFile]:
    scanned = []
    for file in files:
        scanned.append(file)
        show(len(scanned), total)
    return scanned
