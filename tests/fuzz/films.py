"""Whole films of every kind that the viewer reads, to be harmed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.data.dicom_writing import radiograph, write, write_compressed

#: Stands in the headers of all DICOM films here, and must stand in no answer.
PATIENT = "Verysecret^Jane"

_SIZE = (112, 96)


def picture(kind: str) -> dict[str, bytes]:
    """Films in PNG or JPEG files (``kind``), by what is special about them."""
    grey = Image.fromarray(_values(8).astype(np.uint8))
    if kind == "png":
        deep = Image.fromarray(_values(16).astype(np.uint16))
        return {
            "grey": _saved(grey, "PNG"),
            "16 bit": _saved(deep, "PNG"),
            "palette": _saved(grey.convert("P"), "PNG"),
            "colour": _saved(grey.convert("RGB"), "PNG"),
            "alpha": _saved(grey.convert("RGBA"), "PNG"),
            "filtered": _saved(grey, "PNG", optimize=True),
        }
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "grey": _saved(grey, "JPEG", quality=90),
        "colour": _saved(grey.convert("RGB"), "JPEG", quality=90),
        "progressive": _saved(grey, "JPEG", progressive=True),
        "turned": _saved(grey, "JPEG", exif=turned),
        "restarts": _saved(grey, "JPEG", restart_marker_rows=1),
    }


def dicom(folder: Path) -> dict[str, bytes]:
    """Films in DICOM files, by transfer syntax."""
    return {name: make(folder / f"{place}.dcm").read_bytes() for place, (name, make) in enumerate(_dicom_makers())}


def _dicom_makers() -> Iterator[tuple[str, Callable[[Path], Path]]]:
    yield "explicit", partial(write, _radiograph(12))
    yield "8 bit", partial(write, _radiograph(8))
    yield "monochrome1", partial(write, _radiograph(12, PhotometricInterpretation="MONOCHROME1"))
    yield "implicit", partial(_write_as, ImplicitVRLittleEndian)
    yield "deflated", partial(_write_as, DeflatedExplicitVRLittleEndian)
    yield "big endian", partial(_write_as, ExplicitVRBigEndian)
    yield "run length", partial(write_compressed, _radiograph(12), RLELossless)
    yield "JPEG 2000", partial(write_compressed, _radiograph(12), JPEG2000Lossless)
    yield "JPEG-LS", partial(write_compressed, _radiograph(12), JPEGLSLossless)
    yield "JPEG", partial(write_compressed, _radiograph(8), JPEGBaseline8Bit)
    yield "JPEG lossless", partial(write_compressed, _radiograph(12), JPEGLosslessSV1)


def _write_as(syntax: UID, path: Path) -> Path:
    film = _radiograph(8)
    film.file_meta.TransferSyntaxUID = syntax
    return write(film, path)


def _radiograph(bits: int, **attributes: str) -> Dataset:
    values: NDArray[Any] = _values(bits).astype(np.uint8 if bits == 8 else np.uint16)
    window = {"WindowCenter": 2.0 ** (bits - 1), "WindowWidth": 2.0**bits}
    # What would else be made up by the writers: a seed must do the same harm on every day.
    uids = {
        f"{what}InstanceUID": f"1.2.826.0.{place}" for place, what in enumerate(("SOP", "Study", "Series"), start=1)
    }
    known = {"PatientName": PATIENT, "StudyDate": "20200101", "StudyTime": "120000", **uids}
    return radiograph(values, bits, **window, **known, **attributes)


def _values(bits: int) -> NDArray[np.float64]:
    """Something smooth with a little noise, over the whole range."""
    y, x = np.mgrid[: _SIZE[0], : _SIZE[1]]
    shape = 0.5 + 0.3 * np.sin(x / 17) * np.cos(y / 23)
    noise = np.random.default_rng(0).normal(0, 0.02, _SIZE)
    values: NDArray[np.float64] = np.clip(shape + noise, 0, 1) * (2**bits - 1)
    return values


def _saved(film: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    film.save(buffer, kind, **options)
    return buffer.getvalue()
