"""Which codec unfolds which transfer syntax, and what is checked in a codestream before a codec sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from crossray.data.dicom_file import count_of, malformed_as_study_error, text_of
from crossray.data.film_errors import DamagedFilmError, FilmFormatError
from crossray.data.gdcm_frame import FrameShape
from crossray.data.gdcm_process import gdcm_process

#: Transfer syntaxes without compression of the pixels.
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)

#: The codec of each compressed transfer syntax: named, so that the same file gives the same pixels on every machine,
#: whatever else is installed there. gdcm runs in a process of its own; the others are pydicom's plugins of that name.
#: 12-bit JPEG Extended, which Pillow cannot read, goes to gdcm too.
CODECS = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    RLELossless: "pydicom",
}

_END_OF_IMAGE = b"\xff\xd9"  # closes a JPEG, JPEG-LS and JPEG 2000 codestream alike
_JPEG_2000_START = b"\xff\x4f\xff\x51"
_NOT_A_FRAME_HEADER = (0xC4, 0xC8, 0xCC)  # Huffman tables, reserved, arithmetic coding: the rest of C0..CF are headers
_JPEG_LS_HEADER = 0xF7
_AGAIN = "Export it again."


def check_transfer_syntax(syntax: UID, path: Path) -> None:
    """Refuse a transfer syntax that no codec here unfolds.

    Raises:
        StudyError: with its UID and name.
    """
    if syntax not in CODECS and syntax not in NATIVE:
        raise FilmFormatError(
            f"transfer syntax {syntax} ({UID(syntax).name}) is not supported.",
            file=path,
            field="TransferSyntaxUID",
            remedy="Ask the archive to send it uncompressed (Explicit VR Little Endian).",
        )


def decode_pixels(dataset: Dataset, path: Path) -> NDArray[np.integer]:
    """The one frame of a data set: ``[height, width]``, or RGB ``[height, width, 3]``.

    Uncompressed values come with all their allocated bits: which of them are stored is the caller's to see.

    Raises:
        StudyError: the pixels are damaged, cut short, or of another size than the header says.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    with malformed_as_study_error(path):
        if syntax in NATIVE:
            # All bits as they lie there: pydicom would cut them as if HighBit were always BitsStored - 1.
            return np.asarray(pixel_array(dataset, bits_stored=dataset.BitsAllocated))
        if syntax != RLELossless:
            frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
            _check_codestream(frame, dataset, path)
            if CODECS[syntax] == "gdcm" or (syntax == JPEGExtended12Bit and dataset.BitsStored > 8):
                return _by_gdcm(frame, dataset, path)
        return np.asarray(pixel_array(dataset, decoding_plugin=CODECS[syntax]))


def _check_codestream(frame: bytes, dataset: Dataset, path: Path) -> None:
    # Codecs fill up what a cut codestream lacks with grey and say nothing; and they believe its size, not the header's.
    if not frame.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise DamagedFilmError("the compressed pixels are cut short.", file=path, field="PixelData", remedy=_AGAIN)
    expected = (count_of(dataset, "Rows", path), count_of(dataset, "Columns", path))
    found = _codestream_size(frame)
    if found is not None and found != expected:
        raise DamagedFilmError(
            f"the compressed pixels are {found[0]} x {found[1]}, the header says {expected[0]} x {expected[1]}.",
            file=path,
            field="PixelData",
            remedy=_AGAIN,
        )


def _codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Height and width that a JPEG family codestream claims; ``None`` if it does not say."""
    if frame.startswith(_JPEG_2000_START):
        right, bottom, left, top = (int.from_bytes(frame[at : at + 4], "big") for at in (8, 12, 16, 20))
        return bottom - top, right - left
    place = 2
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker == _JPEG_LS_HEADER or (marker & 0xF0 == 0xC0 and marker not in _NOT_A_FRAME_HEADER):
            height, width = (int.from_bytes(frame[at : at + 2], "big") for at in (place + 5, place + 7))
            return height, width
        else:
            place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None


def _by_gdcm(frame: bytes, dataset: Dataset, path: Path) -> NDArray[np.integer]:
    samples = count_of(dataset, "SamplesPerPixel", path, default=1)
    shape = FrameShape(
        transfer_syntax=str(dataset.file_meta.TransferSyntaxUID),
        photometric=text_of(dataset, "PhotometricInterpretation"),
        rows=count_of(dataset, "Rows", path),
        columns=count_of(dataset, "Columns", path),
        samples=samples,
        bits_allocated=count_of(dataset, "BitsAllocated", path),
        bits_stored=count_of(dataset, "BitsStored", path),
        signed=count_of(dataset, "PixelRepresentation", path, default=0) == 1,
    )
    decoded = gdcm_process().decode(frame, shape)
    kind = np.dtype(f"<{'i' if shape.signed else 'u'}{shape.bits_allocated // 8}")
    pixels = np.frombuffer(decoded, dtype=kind).reshape(shape.rows, shape.columns, samples)
    return pixels[:, :, 0] if samples == 1 else pixels
