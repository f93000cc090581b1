"""Radiographs in DICOM: every transfer syntax, and every file that must be refused."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
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

from crossray.data import dicom_file
from crossray.data.dicom import read_dicom
from crossray.data.film_errors import DamagedFilmError, NoPixelsError
from crossray.data.grey import LARGEST_FILM_PIXELS
from crossray.errors import StudyError
from tests.data.dicom_writing import grey_ramp, radiograph, ramp, write, write_compressed

LOSSLESS = (JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: UID(syntax).name)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (16, False), (12, True), (16, True)])
def test_a_lossless_syntax_gives_the_very_pixels(syntax: UID, bits: int, signed: bool, tmp_path: Path) -> None:
    path = write_compressed(radiograph(ramp(bits, signed), bits), syntax, tmp_path / "film.dcm")
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read_dicom(path), grey_ramp(bits, signed))


@pytest.mark.parametrize(
    ("syntax", "bits"),
    [(JPEGBaseline8Bit, 8), (JPEGExtended12Bit, 8), (JPEGExtended12Bit, 12), (JPEG2000, 12), (JPEGLSNearLossless, 12)],
    ids=lambda value: UID(value).name if isinstance(value, UID) else str(value),
)
def test_a_lossy_syntax_gives_nearly_the_pixels(syntax: UID, bits: int, tmp_path: Path) -> None:
    path = write_compressed(radiograph(ramp(bits), bits), syntax, tmp_path / "film.dcm")
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert np.abs(read_dicom(path).astype(int) - grey_ramp(bits)).max() <= 2


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian], ids=lambda s: s.name
)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (10, False), (14, True), (16, False)])
def test_uncompressed_pixels_are_read(syntax: UID, bits: int, signed: bool, tmp_path: Path) -> None:
    dataset = radiograph(ramp(bits, signed), bits)
    dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read_dicom(write(dataset, tmp_path / "film.dcm")), grey_ramp(bits, signed))


def test_big_endian_pixels_are_read(tmp_path: Path) -> None:
    dataset = radiograph(ramp(12).astype(">u2"), 12)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    np.testing.assert_array_equal(read_dicom(write(dataset, tmp_path / "film.dcm")), grey_ramp())


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian], ids=lambda s: s.name)
def test_a_file_without_preamble_and_meta_is_read(syntax: UID, tmp_path: Path) -> None:
    dataset = radiograph()
    del dataset.file_meta
    path = tmp_path / "film.dcm"
    implicit = syntax == ImplicitVRLittleEndian
    dataset.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
    assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_dicom(path), grey_ramp())


def test_overlay_bits_above_the_stored_ones_are_ignored(tmp_path: Path) -> None:
    values = ramp(12) | np.uint16(0x8000) * (ramp(12) % 2 == 0)
    np.testing.assert_array_equal(read_dicom(write(radiograph(values, 12), tmp_path / "film.dcm")), grey_ramp())


def test_values_lifted_by_a_high_bit_are_read(tmp_path: Path) -> None:
    path = write(radiograph(ramp(12) << 4, 12, HighBit=15), tmp_path / "film.dcm")
    np.testing.assert_array_equal(read_dicom(path), grey_ramp())


def test_rgb_pixels_that_are_grey_are_converted(tmp_path: Path) -> None:
    colour = np.repeat(ramp(8)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read_dicom(write(radiograph(colour, 8), tmp_path / "film.dcm")), grey_ramp(8))


def test_colour_is_refused(tmp_path: Path) -> None:
    colour = np.repeat(ramp(8)[:, :, None], 3, axis=2)
    colour[:, :, 0] = 255 - colour[:, :, 0]
    with pytest.raises(StudyError, match=r"film\.dcm: the picture is in colour"):
        read_dicom(write(radiograph(colour, 8), tmp_path / "film.dcm"))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"NumberOfFrames": 12}, "has 12 frames"),
        ({"PixelData": None, "Modality": "SR"}, r"has no pixels \(Modality SR\)"),
        ({"PixelData": b""}, "has no pixels"),
        ({"Rows": None}, "field 'Rows': is absent"),
        ({"Rows": 0}, "claims 0 x 64 pixels"),
        ({"Rows": 65_000, "Columns": 65_000}, f"claims 65000 x 65000 pixels, more than {LARGEST_FILM_PIXELS:,}"),
        ({"Rows": 4_800}, "damaged, cut short or not decodable"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "'PALETTE COLOR' is not grey"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "32 bits stored in 32"),
        ({"BitsStored": 17}, "17 bits stored in 16"),
        ({"HighBit": 3}, "field 'HighBit': is 3, with 12 bits stored"),
        ({"SamplesPerPixel": 2}, "2 samples of 16 bits are neither grey nor"),
    ],
)
def test_a_film_that_cannot_be_is_refused(attributes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        read_dicom(write(radiograph(**attributes), tmp_path / "film.dcm"))
    assert caught.value.file == str(tmp_path / "film.dcm")


@pytest.mark.parametrize("syntax", [MPEG2MPML, UID("1.2.3.4.5")])
def test_an_unknown_transfer_syntax_is_refused_with_a_remedy(syntax: UID, tmp_path: Path) -> None:
    path = write_compressed(radiograph(), RLELossless, tmp_path / "film.dcm")
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    write(dataset, path)
    with pytest.raises(StudyError, match=rf"transfer syntax {syntax} .* not supported.*uncompressed"):
        read_dicom(path)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, *LOSSLESS]
)
def test_a_cut_file_is_refused_wherever_it_is_cut(syntax: UID, tmp_path: Path) -> None:
    dataset = radiograph(np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8), 8)
    path = tmp_path / "film.dcm"
    if syntax.is_compressed and not syntax.is_deflated:
        write_compressed(dataset, syntax, path)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
        write(dataset, path)
    whole = path.read_bytes()
    for length in (1, 64, 130, 140, 200, 320, 500, len(whole) // 2, len(whole) - 400, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(StudyError, match=r"film\.dcm"):
            read_dicom(path)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_pixels_that_begin_and_do_not_end_are_cut_short_and_not_absent(syntax: UID, tmp_path: Path) -> None:
    path = write_compressed(radiograph(), syntax, tmp_path / "film.dcm")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DamagedFilmError):
        read_dicom(path)
    del (whole := radiograph()).PixelData
    with pytest.raises(NoPixelsError, match="has no pixels"):
        read_dicom(write(whole, path))


def test_a_codestream_of_another_size_than_the_header_is_not_decoded(tmp_path: Path) -> None:
    path = write_compressed(radiograph(), JPEG2000Lossless, tmp_path / "film.dcm")
    dataset = dcmread(path)
    frame = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
    frame[8:16] = (60_000).to_bytes(4, "big") * 2
    dataset.PixelData = encapsulate([bytes(frame)])
    with pytest.raises(StudyError, match="compressed pixels are 60000 x 60000, the header says 48 x 64"):
        read_dicom(write(dataset, path))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless])
def test_a_jpeg_of_another_size_than_the_header_is_not_decoded(syntax: UID, tmp_path: Path) -> None:
    path = write_compressed(radiograph(ramp(8), 8), syntax, tmp_path / "film.dcm")
    dataset = dcmread(path)
    dataset.Rows = 40
    with pytest.raises(StudyError, match="compressed pixels are 48 x 64, the header says 40 x 64"):
        read_dicom(write(dataset, path))


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_file, "LARGEST_INFLATED_BYTES", 5_000_000)
    dataset = radiograph(PixelData=None)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = write(dataset, tmp_path / "film.dcm")
    start = 132 + 12 + dcmread(path).file_meta.FileMetaInformationGroupLength
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(6_000_000)) + deflater.flush()
    path.write_bytes(path.read_bytes()[:start] + bomb)
    with pytest.raises(StudyError, match="inflates to more than 5,000,000 bytes"):
        read_dicom(path)


@pytest.mark.real_data
def test_the_sample_with_its_header_changed_reads_inverted(real_data: Path) -> None:
    folder = real_data / "dicom_sample"
    plain = read_dicom(folder / "chest_monochrome2.dcm")
    changed = read_dicom(folder / "chest_monochrome1.dcm")
    assert plain.shape == (1024, 1024)
    np.testing.assert_array_equal(changed, 255 - plain)
    lungs, mediastinum = plain[400:600, 250:350], plain[400:600, 490:540]
    assert lungs.mean() < mediastinum.mean(), "bone and heart are bright"
