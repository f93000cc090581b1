"""Opening a DICOM file: with or without its preamble, quietly, and with an error that says what is wrong with it."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from crossray.data.film_errors import DamagedFilmError, FilmFormatError, FilmSizeError
from crossray.errors import StudyError

_PREAMBLE_BYTES = 128
# A file without preamble starts with the group of its first element, 0002 (file meta) or 0008 (little endian).
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
#: Most bytes that a deflated data set may inflate to: 16-bit pixels of the largest film, with room for the rest.
LARGEST_INFLATED_BYTES = 256_000_000
# Preamble, "DICM", and the element that holds the length of the rest of the file meta group.
_META_START_BYTES = _PREAMBLE_BYTES + 4 + 12


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file that starts with these bytes (132 or more, if it has them) may be a DICOM file."""
    with_preamble = start[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM"
    return with_preamble or (start[:2] in _FIRST_GROUPS and len(start) >= 8)


def open_dicom(path: Path, *, tags: Sequence[str] | None = None, pixels: bool = True) -> Dataset:
    """A DICOM file's data set, its transfer syntax and SOP class always set (a DICOMDIR has the latter in its meta).

    Args:
        path: the file.
        tags: keywords to read; given, the pixels are not read. ``None`` reads everything.
        pixels: whether they are wanted at all; off, what stands behind them in the file is not read either.

    Raises:
        StudyError: the file is missing, empty, cut short, or no DICOM file.
    """
    start = read_start(path)
    if not looks_like_dicom(start):
        raise FilmFormatError("is not a DICOM file.", file=path)
    with malformed_as_study_error(path):
        _check_deflated(path, start)
        forced = start[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] != b"DICM"
        dataset = dcmread(
            path,
            force=forced,
            stop_before_pixels=tags is not None or not pixels,
            specific_tags=None if tags is None else list(tags),
        )
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
        dataset.SOPClassUID = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or ""
    if not dataset.SOPClassUID and "Rows" not in dataset:
        raise FilmFormatError("is not a DICOM file.", file=path)
    return dataset


def read_start(path: Path, count: int = 1024) -> bytes:
    """The first bytes of a file.

    Raises:
        StudyError: the file is missing, is a folder, cannot be read, or is empty.
    """
    try:
        with path.open("rb") as file:
            start = file.read(count)
    except OSError as error:
        raise StudyError(f"cannot be read ({error.strerror}).", file=path, remedy="Check its path.") from error
    if not start:
        raise DamagedFilmError("the file is empty.", file=path, remedy="Export or copy it again.")
    return start


@contextmanager
def malformed_as_study_error(path: Path) -> Iterator[None]:
    """Turn whatever a malformed DICOM file raises inside pydicom or a codec into one error that names the file."""
    try:
        with warnings.catch_warnings():
            # Hospitals' headers break a rule in every other file; what matters to us is checked by us.
            warnings.simplefilter("ignore")
            yield
    except StudyError:
        raise
    except InvalidDicomError as error:
        raise FilmFormatError("is not a DICOM file.", file=path) from error
    except Exception as error:
        # pydicom and the codecs raise any type on malformed bytes: EOFError, struct.error, KeyError, RuntimeError...
        reason = str(error).strip().splitlines()
        said = reason[0] if reason else type(error).__name__
        raise DamagedFilmError(
            f"is damaged, cut short or not decodable ({said}).", file=path, remedy="Export or copy it again."
        ) from error


def text_of(dataset: Dataset, keyword: str) -> str:
    """An attribute as stripped text; ``""`` if absent, several values joined by a backslash."""
    value = dataset.get(keyword)
    if value is None:
        return ""
    parts = value if isinstance(value, MultiValue | list) else [value]
    return "\\".join(str(part).strip(" \0\t\r\n") for part in parts)


def numbers_of(dataset: Dataset, keyword: str, path: Path) -> tuple[float, ...]:
    """An attribute's finite numbers; empty if it is absent or empty.

    Raises:
        StudyError: a value is not a finite number.
    """
    try:
        value = dataset.get(keyword)
        parts = value if isinstance(value, MultiValue | list) else [value]
        numbers = tuple(float(part) for part in parts if part is not None and part != "")
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise StudyError(f"is not a number ({error}).", file=path, field=keyword) from error
    if not all(math.isfinite(number) for number in numbers):
        raise StudyError(f"is not finite ({numbers}).", file=path, field=keyword)
    return numbers


def count_of(dataset: Dataset, keyword: str, path: Path, default: int | None = None) -> int:
    """An attribute's one whole number.

    Raises:
        StudyError: it is absent (and no default is given) or is not one whole number.
    """
    numbers = numbers_of(dataset, keyword, path)
    if not numbers and default is not None:
        return default
    if len(numbers) != 1 or numbers[0] != int(numbers[0]):
        shown = "absent" if not numbers else f"{dataset.get(keyword)}, not one whole number"
        raise StudyError(f"is {shown}.", file=path, field=keyword, remedy="Export the film again.")
    return int(numbers[0])


def _guessed_syntax(dataset: Dataset) -> UID:
    implicit, little_endian = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian in (True, None) else ExplicitVRBigEndian


def _check_deflated(path: Path, start: bytes) -> None:
    # pydicom inflates a whole data set at once: see first, in pieces, how much that would be.
    if DeflatedExplicitVRLittleEndian.encode() not in start:
        return
    meta = read_file_meta_info(path)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = 0
    with path.open("rb") as file:
        file.seek(_META_START_BYTES + meta.FileMetaInformationGroupLength)
        while block := file.read(1 << 16):
            while block:
                inflated += len(inflater.decompress(block, 1 << 20))
                block = inflater.unconsumed_tail
                if inflated > LARGEST_INFLATED_BYTES:
                    raise FilmSizeError(f"inflates to more than {LARGEST_INFLATED_BYTES:,} bytes: not read.", file=path)
