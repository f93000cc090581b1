"""Radiograph pixels out of DICOM: one grey frame of up to 16 bits in any usual coding, as 8-bit with bone bright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from crossray.data.dicom_codecs import NATIVE, check_transfer_syntax, decode_pixels
from crossray.data.dicom_display import DicomDisplay, display_pixels
from crossray.data.dicom_file import count_of, malformed_as_study_error, open_dicom, text_of
from crossray.data.film_errors import DamagedFilmError, NoPixelsError, SeveralFramesError
from crossray.data.grey import check_film_size, grey_from_colour
from crossray.errors import StudyError

_PIXEL_DATA_TAGS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")  # little and big endian


def read_dicom(path: Path, display: DicomDisplay | None = None) -> NDArray[np.uint8]:
    """A DICOM radiograph's pixels ``[height, width]`` uint8, higher is brighter, bone is bright.

    Honours MONOCHROME1 and PresentationLUTShape, modality LUT and rescale, VOI LUT and window, and pixel padding
    (see :mod:`crossray.data.dicom_display`). A colour file whose pixels are really grey is converted.

    Raises:
        StudyError: with the file: not DICOM, damaged, without pixels, of several frames, in colour, larger than
            ``LARGEST_FILM_PIXELS``, in a transfer syntax that is not known, or with a header that makes no sense.
    """
    dataset = open_dicom(path)
    with malformed_as_study_error(path):  # pydicom reads an element when it is asked for, and fails then
        _check_one_film(dataset, path)
        check_transfer_syntax(dataset.file_meta.TransferSyntaxUID, path)
        if count_of(dataset, "SamplesPerPixel", path, default=1) > 1:
            return _colour_film(dataset, path)
        return display_pixels(_grey_values(dataset, path), dataset, path, display or DicomDisplay())


def _check_one_film(dataset: Dataset, path: Path) -> None:
    if not dataset.get("PixelData"):
        # pydicom drops an element that does not end.
        if "PixelData" not in dataset and any(tag in path.read_bytes() for tag in _PIXEL_DATA_TAGS):
            raise DamagedFilmError("the pixels are cut short.", file=path, field="PixelData", remedy="Export it again.")
        modality = text_of(dataset, "Modality") or "unknown"
        raise NoPixelsError(
            f"has no pixels (Modality {modality}).",
            file=path,
            field="PixelData",
            remedy="Leave it out, or export the film that it belongs to.",
        )
    frames = count_of(dataset, "NumberOfFrames", path, default=1)
    if frames > 1:
        raise SeveralFramesError(
            f"has {frames} frames: a film has one.",
            file=path,
            field="NumberOfFrames",
            remedy="Export the frame that is meant as a file of its own.",
        )
    check_film_size(count_of(dataset, "Rows", path), count_of(dataset, "Columns", path), path)


def _grey_values(dataset: Dataset, path: Path) -> NDArray[np.integer]:
    photometric = text_of(dataset, "PhotometricInterpretation").upper()
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise StudyError(
            f"'{photometric}' is not grey.",
            file=path,
            field="PhotometricInterpretation",
            remedy="Export the film as MONOCHROME2.",
        )
    allocated, stored_bits = count_of(dataset, "BitsAllocated", path), count_of(dataset, "BitsStored", path)
    if allocated not in (8, 16) or not 1 <= stored_bits <= allocated:
        raise StudyError(
            f"{stored_bits} bits stored in {allocated}: up to 16 bits in 8 or 16 are read.",
            file=path,
            field="BitsStored",
            remedy="Export the film with 8 to 16 bits.",
        )
    values = _of_shape(decode_pixels(dataset, path), 2, path)
    return _stored_bits_only(values, dataset, path) if dataset.file_meta.TransferSyntaxUID in NATIVE else values


def _stored_bits_only(values: NDArray[np.integer], dataset: Dataset, path: Path) -> NDArray[np.integer]:
    # Old files keep overlays in the bits that BitsStored leaves free, and HighBit may lift the values.
    stored_bits = count_of(dataset, "BitsStored", path)
    high_bit = count_of(dataset, "HighBit", path, default=stored_bits - 1)
    shift = high_bit + 1 - stored_bits
    if shift < 0 or high_bit >= 8 * values.dtype.itemsize:
        raise StudyError(f"is {high_bit}, with {stored_bits} bits stored.", file=path, field="HighBit")
    if stored_bits == 8 * values.dtype.itemsize:
        return values
    unsigned = values.view(values.dtype.str.replace("i", "u"))
    plain: NDArray[np.integer] = (unsigned >> shift) & (2**stored_bits - 1)
    if count_of(dataset, "PixelRepresentation", path, default=0) == 1:
        signed = plain.astype(np.int32)
        plain = np.where(signed >= 2 ** (stored_bits - 1), signed - 2**stored_bits, signed)
    return plain


def _colour_film(dataset: Dataset, path: Path) -> NDArray[np.uint8]:
    samples, bits = count_of(dataset, "SamplesPerPixel", path), count_of(dataset, "BitsAllocated", path)
    if samples != 3 or bits != 8:
        raise StudyError(
            f"{samples} samples of {bits} bits are neither grey nor 8-bit colour.",
            file=path,
            field="SamplesPerPixel",
            remedy="Export the film as MONOCHROME2.",
        )
    return grey_from_colour(_of_shape(decode_pixels(dataset, path), 3, path).astype(np.uint8), path)


def _of_shape(values: NDArray[np.integer], dimensions: int, path: Path) -> NDArray[np.integer]:
    if values.ndim != dimensions:
        raise StudyError(f"the pixels decode to shape {values.shape}.", file=path, field="PixelData")
    return values
