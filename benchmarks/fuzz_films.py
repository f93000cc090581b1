"""Films as DICOM, PNG and JPEG: for ``benchmarks.fuzz``."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fuzz import Attack, of_bytes


def attack_on_dicom(folder: Path) -> Attack:
    """DICOM films (plain, deflated, JPEG 2000): header and pixels."""
    from crossray.data.dicom_header import read_header
    from crossray.data.images import FilmPixels

    def read(path: Path) -> object:
        try:
            return FilmPixels(path).read()
        finally:
            read_header(path)

    return of_bytes(dicom_seeds(folder), folder, read)


def dicom_seeds(folder: Path) -> dict[str, bytes]:
    """A film as DICOM, uncompressed, deflated and as JPEG 2000, with a VOI LUT and nested sequences."""
    import numpy as np
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import (
        ComputedRadiographyImageStorage,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        JPEG2000Lossless,
        generate_uid,
    )

    seeds = {}
    for name, syntax in (
        ("plain.dcm", ExplicitVRLittleEndian),
        ("deflated.dcm", DeflatedExplicitVRLittleEndian),
        ("jpeg2000.dcm", JPEG2000Lossless),
    ):
        film = Dataset()
        film.file_meta = FileMetaDataset()
        film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == JPEG2000Lossless else syntax
        film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid(entropy_srcs=[name])
        film.Modality, film.PatientName, film.PatientID, film.AccessionNumber = "CR", "Roe^Jane", "1", "2"
        film.Rows, film.Columns, film.SamplesPerPixel, film.PhotometricInterpretation = 64, 72, 1, "MONOCHROME1"
        film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
        film.WindowCenter, film.WindowWidth, film.RescaleSlope, film.RescaleIntercept = [2000, 900], [1000, 80], 1, 0
        code = Dataset()
        code.CodeValue, code.CodeMeaning = "R-10206", "postero-anterior"
        film.ViewCodeSequence = [code]
        values = (np.arange(64 * 72) * 5 % 4096).astype(np.uint16).reshape(64, 72)
        film.PixelData = values.tobytes()
        film["PixelData"].VR = "OW"
        if syntax == JPEG2000Lossless:
            film.compress(syntax, generate_instance_uid=False)
        film.save_as(folder / name, enforce_file_format=True)
        seeds[name] = (folder / name).read_bytes()
    return seeds


def attack_on_pictures(folder: Path) -> Attack:
    """PNG and JPEG films and masks: 8 and 16 bits, palettes, an EXIF orientation."""
    import io

    import numpy as np
    from PIL import Image

    from crossray.data.images import FileMask, FilmPixels

    grey = (np.arange(64 * 72) * 5 % 256).astype(np.uint8).reshape(64, 72)
    seeds = {}
    for name, image, options in (
        ("grey.png", Image.fromarray(grey), {}),
        ("deep.png", Image.fromarray(grey.astype(np.uint16) * 200), {}),
        ("palette.png", Image.fromarray(grey).convert("P"), {}),
        ("film.jpg", Image.fromarray(grey), {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06"}),
        ("mask.png", Image.fromarray(np.where(grey > 90, 255, 0).astype(np.uint8)), {}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG" if name.endswith("jpg") else "PNG", **options)
        seeds[name] = buffer.getvalue()

    def read(path: Path) -> object:
        return FileMask(path).read() if path.name.startswith("mask") else FilmPixels(path).read()

    return of_bytes(seeds, folder, read)
