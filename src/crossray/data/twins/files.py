"""Files of the twins: films as PNG, JPEG and DICOM, masks, CSV tables; equal input gives equal bytes."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Cell = str | int | float | None


def write_png(path: Path, pixels: Pixels) -> None:
    """Write ``[height, width]`` grey or ``[height, width, 3]`` colour pixels as PNG; folders are made."""
    _save(path, Image.fromarray(pixels), "PNG")


def write_jpeg(path: Path, pixels: Pixels) -> None:
    """Write ``[height, width]`` grey or ``[height, width, 3]`` colour pixels as JPEG; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format="JPEG", quality=95)


def write_gif(path: Path, mask: Pixels) -> None:
    """Write ``[height, width]`` pixels as GIF; folders are made."""
    _save(path, Image.fromarray(mask), "GIF")


def write_dicom(path: Path, pixels: Pixels, **attributes: str) -> None:
    """Write ``[height, width]`` 8-bit pixels as an uncompressed DICOM radiograph; folders are made.

    Args:
        path: the file.
        pixels: MONOCHROME2 pixels.
        attributes: DICOM attributes by keyword. UIDs that are not given are made of the path's last parts.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = twin_uid("image", *path.parts[-3:])
    dataset.SeriesInstanceUID = twin_uid("series", *path.parts[-3:])
    dataset.StudyInstanceUID = twin_uid("study", *path.parts[-3:])
    dataset.Modality = "CR"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    content = pixels.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Write a CSV table; a name that ends with ``.gz`` is gzipped. ``None`` is an empty cell; folders are made."""
    write_lines(path, csv_lines([list(header), *([*row] for row in rows)]))


def write_lines(path: Path, text: str) -> None:
    """Write text as UTF-8; a name that ends with ``.gz`` is gzipped, with no time in it. Folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode("utf-8")
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def csv_lines(rows: Iterable[Sequence[Cell]]) -> str:
    """Rows as CSV with ``\\n`` at the ends of lines."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def twin_digest(*parts: object) -> str:
    """64 hexadecimal digits that name something of a twin, such as a file whose publisher numbers at random."""
    return hashlib.sha256("/".join(str(part) for part in ("twin", *parts)).encode()).hexdigest()


def twin_uid(*parts: object) -> str:
    """A DICOM UID under the root for UUIDs (2.25)."""
    return f"2.25.{int(twin_digest(*parts)[:31], 16)}"


def uids(*parts: object) -> dict[str, str]:
    """UIDs of a film, its series and its study by their DICOM keywords."""
    return {f"{kind}InstanceUID": twin_uid(kind, *parts) for kind in ("SOP", "Series", "Study")}


def _save(path: Path, picture: Image.Image, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, format=kind)
