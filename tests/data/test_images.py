"""Films and masks out of picture files: every kind that must be read, and every kind that must be refused."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from crossray.data import grey
from crossray.data.images import FileMask, FilmPixels
from crossray.errors import StudyError
from tests.data.dicom_writing import grey_ramp, radiograph, ramp, write

FILM = grey_ramp()


def save(picture: Image.Image | NDArray[np.generic], path: Path, **options: Any) -> Path:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **options)
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["film.png", "film.jpg", "film.dcm", "film"])
def test_a_png_is_a_png_whatever_its_name(name: str, tmp_path: Path) -> None:
    path = save(FILM, tmp_path / "source.png").rename(tmp_path / name)
    np.testing.assert_array_equal(FilmPixels(path).read(), FILM)


def test_a_dicom_file_named_png_is_read_as_dicom(tmp_path: Path) -> None:
    np.testing.assert_array_equal(FilmPixels(write(radiograph(), tmp_path / "film.png")).read(), FILM)


def test_a_film_travels_to_worker_processes(tmp_path: Path) -> None:
    film = FilmPixels(save(FILM, tmp_path / "film.png"))
    assert pickle.loads(pickle.dumps(film)) == film
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(film)).read(), FILM)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_a_grey_film_in_colour_clothes_is_read(mode: str, tmp_path: Path) -> None:
    name = "film.jpg" if mode == "CMYK" else "film.png"  # PNG knows no CMYK
    path = save(Image.fromarray(FILM).convert(mode), tmp_path / name, quality=100)
    assert np.abs(FilmPixels(path).read().astype(int) - FILM).max() <= 3


def test_a_colour_jpeg_that_is_really_grey_is_read(tmp_path: Path) -> None:
    path = save(Image.fromarray(FILM).convert("RGB"), tmp_path / "film.jpg", quality=90)
    assert np.abs(FilmPixels(path).read().astype(int) - FILM).max() <= 4


def test_a_coloured_side_marker_does_not_spoil_a_film(tmp_path: Path) -> None:
    pixels = np.repeat(FILM[:, :, None], 3, axis=2)
    pixels[:4, :6] = (255, 0, 0)
    np.testing.assert_array_equal(FilmPixels(save(pixels, tmp_path / "film.png")).read()[8:], FILM[8:])


def test_sixteen_bits_are_stretched_to_the_grey_range(tmp_path: Path) -> None:
    twelve_bits_in_sixteen = ramp(12).astype(np.uint16)
    np.testing.assert_array_equal(FilmPixels(save(twelve_bits_in_sixteen, tmp_path / "film.png")).read(), FILM)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    image = Image.fromarray(FILM)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(image, tmp_path / "film.png", exif=exif)
    turns = {1: FILM, 2: FILM[:, ::-1], 3: FILM[::-1, ::-1], 4: FILM[::-1], 5: FILM.T}
    turns |= {6: np.rot90(FILM, -1), 7: np.rot90(FILM, 2).T, 8: np.rot90(FILM)}
    np.testing.assert_array_equal(FilmPixels(path).read(), turns[orientation])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"gone\.png: cannot be read \(No such file"):
        FilmPixels(tmp_path / "gone.png").read()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        FilmPixels(tmp_path).read()


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.png").touch()
    with pytest.raises(StudyError, match=r"film\.png: the file is empty\. Export or copy it again"):
        FilmPixels(tmp_path / "film.png").read()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_cut_file_is_refused(kind: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    path = tmp_path / "film"
    path.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
    with pytest.raises(StudyError, match="damaged or cut short"):
        FilmPixels(path).read()


def test_damaged_bytes_never_end_in_another_error(tmp_path: Path) -> None:
    whole = save(FILM, tmp_path / "film.png").read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / "damaged.png"
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(8, len(content), 6):
            content[place] = random.integers(0, 256)
        path.write_bytes(content)
        with contextlib.suppress(StudyError):
            assert FilmPixels(path).read().ndim == 2


@pytest.mark.parametrize(("width", "height"), [(9_000, 9_000), (12_000, 12_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_by_its_header(width: int, height: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(StudyError, match=r"bomb\.png: .*(not decoded|too large)"):
        FilmPixels(path).read()


def test_the_size_limit_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grey, "LARGEST_FILM_PIXELS", FILM.size - 1)
    with pytest.raises(StudyError, match="claims 48 x 64 pixels, more than 3,071"):
        FilmPixels(save(FILM, tmp_path / "film.png")).read()
    with pytest.raises(StudyError, match="claims 48 x 64 pixels, more than 3,071"):
        FilmPixels(write(radiograph(), tmp_path / "film.dcm")).read()


def test_a_photograph_in_colour_is_refused(tmp_path: Path) -> None:
    pixels = np.stack([FILM, 255 - FILM, FILM], axis=2)
    with pytest.raises(StudyError, match=r"film\.png: the picture is in colour .* convert it to grey"):
        FilmPixels(save(pixels, tmp_path / "film.png")).read()


def test_transparency_is_refused(tmp_path: Path) -> None:
    pixels = np.stack([FILM, FILM, FILM, FILM], axis=2)
    with pytest.raises(StudyError, match="partly transparent"):
        FilmPixels(save(pixels, tmp_path / "film.png")).read()


def test_one_bit_a_pixel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="one bit a pixel: a mask"):
        FilmPixels(save(Image.fromarray(FILM > 99), tmp_path / "film.png")).read()


def test_sixteen_bit_colour_is_refused_rather_than_cut_to_its_high_bytes(tmp_path: Path) -> None:
    header = bytearray(png_header(4, 4))
    header[24:26] = bytes([16, 2])
    path = tmp_path / "film.png"
    path.write_bytes(header)
    with pytest.raises(StudyError, match="16 bits a channel"):
        FilmPixels(path).read()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"II*\0" + b"\0" * 50, "a TIFF"), (b"GIF89a", "a GIF"), (b"BM" + b"\0" * 50, "a BMP"), (b"%PDF-1.4", "a PDF"),
        (b"<!DOCTYPE html>", "a web page"), (b"version https://git-lfs.github.com", "a Git LFS pointer"),
        (b"hello", "neither PNG nor JPEG nor DICOM"),
    ],
)  # fmt: skip
def test_another_format_is_named_and_refused(content: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / "film.png"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=rf"{name}.*Convert it to PNG, JPEG or DICOM"):
        FilmPixels(path).read()


def test_a_mask_is_read_as_it_is(tmp_path: Path) -> None:
    mask = np.array([[0, 127, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(FileMask(save(mask, tmp_path / "mask.png")).read(), mask)


@pytest.mark.parametrize("values", [np.array([[False, True]]), np.array([[0, 1]], dtype=np.uint8)])
def test_a_mask_of_zeros_and_ones_becomes_0_and_255(values: NDArray[np.generic], tmp_path: Path) -> None:
    np.testing.assert_array_equal(FileMask(save(values, tmp_path / "mask.png")).read(), [[0, 255]])


def test_an_empty_mask_stays_empty(tmp_path: Path) -> None:
    assert not FileMask(save(np.zeros((3, 4), dtype=np.uint8), tmp_path / "mask.png")).read().any()


def test_a_mask_with_other_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"mask\.png: the mask holds the values 0, 2, 5.*255 inside"):
        FileMask(save(FILM, tmp_path / "mask.png")).read()


def test_a_mask_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"hello")
    with pytest.raises(StudyError, match="neither PNG nor JPEG"):
        FileMask(tmp_path / "mask.png").read()
