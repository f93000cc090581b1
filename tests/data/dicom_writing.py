"""Synthetic radiographs as DICOM files, in every transfer syntax that can be written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    generate_uid,
)

HEIGHT, WIDTH = 48, 64

#: Written by gdcm; all others by pydicom and its plugins.
GDCM_SYNTAXES = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)


def ramp(bits: int = 12, signed: bool = False) -> NDArray[np.integer]:
    """``[HEIGHT, WIDTH]`` values that go smoothly over the whole range of ``bits``."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    share = (y + x) / (HEIGHT + WIDTH - 2)
    low = -(2 ** (bits - 1)) if signed else 0
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    return np.asarray(np.rint(low + share * (2**bits - 1)), dtype=kind)


def grey_ramp(bits: int = 12, signed: bool = False) -> NDArray[np.uint8]:
    """What :func:`ramp` must look like: 0 to 255."""
    values = ramp(bits, signed).astype(np.float64)
    return np.asarray(np.rint((values - values.min()) / (2**bits - 1) * 255), dtype=np.uint8)


def radiograph(values: NDArray[np.integer] | None = None, bits: int = 12, **attributes: Any) -> Dataset:
    """An uncompressed computed radiograph; ``attributes`` are set on it, ``None`` removes one."""
    values = ramp(bits) if values is None else values
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = generate_uid()
    dataset.Modality = "CR"
    dataset.PatientID = "P1"
    dataset.PatientName = "Doe^Jane"
    dataset.AccessionNumber = "A1"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 1 if values.ndim == 2 else values.shape[2]
    dataset.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = 8 * values.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    dataset["PixelData"].VR = "OB" if values.dtype.itemsize == 1 else "OW"
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def write(dataset: Dataset, path: Path) -> Path:
    """Write a data set as a whole DICOM file with preamble."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", ComputedRadiographyImageStorage)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", generate_uid())
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_compressed(dataset: Dataset, syntax: UID, path: Path) -> Path:
    """Compress a data set's pixels and write it."""
    if syntax in GDCM_SYNTAXES:
        return _write_by_gdcm(dataset, syntax, path)
    options: dict[str, Any] = {"j2k_cr": [2]} if syntax == "1.2.840.10008.1.2.4.91" else {}
    options |= {"jls_error": 1} if syntax == "1.2.840.10008.1.2.4.81" else {}
    dataset.compress(syntax, generate_instance_uid=False, **options)
    return write(dataset, path)


def _write_by_gdcm(dataset: Dataset, syntax: UID, path: Path) -> Path:
    import gdcm

    plain = write(dataset, path.with_suffix(".plain"))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    plain.unlink()
    return path
