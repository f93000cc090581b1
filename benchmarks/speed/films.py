"""Films of 2,500 pixels as a scanner or a detector writes them: phantom anatomy, grain, and what compresses them."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    generate_uid,
)

from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.study import Study

Format = Literal["jpeg2000", "jpeg_lossless", "jpeg", "uncompressed"]

_GRAIN = 12.0  # of 4,096 grey values
_JPEG_QUALITY = 90
_DIFFERENT = 8


def write_folder(folder: Path, kind: Format, studies: int, side: int) -> Path:
    """A folder that ``crossray data prepare folder`` reads: eight different films, linked under many names."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "jpg" if kind == "jpeg" else "dcm"
    originals = [
        write_film(film, kind, folder / f"original{number}.{suffix}") for number, film in enumerate(films(side))
    ]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["study_id", "patient_id", "film", "view", "report"])
        for number in range(studies):
            name = f"film{number:04d}.{suffix}"
            os.link(originals[number % _DIFFERENT], folder / name)
            rows.writerow([f"s{number:04d}", f"p{number:04d}", name, "frontal", "The lungs are clear."])
    return folder


def films(side: int) -> list[NDArray[np.uint16]]:
    """Eight films ``[side, side]`` of 12 bits."""
    source = PhantomSource(PhantomConfig(seed=3, count=_DIFFERENT, size=256))
    studies = [study for study in source.studies() if isinstance(study, Study)]
    return [_enlarged(study.films[0].pixels.read(), side, seed) for seed, study in enumerate(studies)]


def write_film(film: NDArray[np.uint16], kind: Format, path: Path) -> Path:
    if kind == "jpeg":
        Image.fromarray((film >> 4).astype(np.uint8)).save(path, quality=_JPEG_QUALITY)
        return path
    dataset = _radiograph(film)
    if kind == "jpeg2000":
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)
    if kind == "jpeg_lossless":
        _compress_by_gdcm(path)
    return path


def _enlarged(film: NDArray[np.uint8], side: int, seed: int) -> NDArray[np.uint16]:
    smooth = np.asarray(Image.fromarray(film).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    grain = np.random.default_rng(seed).normal(scale=_GRAIN, size=(side, side))
    return np.clip(16 * smooth + grain, 0, 4095).astype(np.uint16)


def _radiograph(film: NDArray[np.uint16]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = generate_uid()
    dataset.Modality = "CR"
    dataset.PatientID = "P1"
    dataset.Rows, dataset.Columns = film.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = film.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _compress_by_gdcm(path: Path) -> None:
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGLosslessSV1))))
    if not reader.Read():
        raise RuntimeError(f"gdcm cannot read {path}")
    change.SetInput(reader.GetImage())
    if not change.Change():
        raise RuntimeError(f"gdcm cannot compress {path}")
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise RuntimeError(f"gdcm cannot write {path}")
