"""Films and masks out of files. What a file is, is decided by its content, never by its name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from crossray.data.dicom import read_dicom
from crossray.data.dicom_display import DicomDisplay
from crossray.data.dicom_file import looks_like_dicom, read_start
from crossray.data.film_errors import DamagedFilmError, FilmFormatError, FilmSizeError
from crossray.data.grey import check_film_size, grey_from_colour, stretch_to_8_bit
from crossray.errors import StudyError

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_OTHER_FORMATS = {
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"RIFF": "a WebP",
    b"\0\0\0\x0cjP": "a bare JPEG 2000",
    b"\x1f\x8b": "a gzip archive",
    b"PK": "a zip archive",
    b"%PDF": "a PDF",
    b"<": "a web page",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}
_CONVERT = "Convert it to PNG, JPEG or DICOM."
_PNG_DEPTH, _PNG_COLOUR_TYPE = 24, 25  # places in the header chunk, which comes first
_MASK_VALUES = (0, 127, 255)
_ON_ITS_SIDE = (5, 6, 7, 8)  # EXIF orientations that exchange height and width


@dataclass(frozen=True)
class FilmPixels:
    """A film's pixels in a PNG, JPEG or DICOM file.

    Colour modes (RGB, palette, CMYK, an opaque alpha channel) are accepted where the picture is really grey. 16-bit
    pixels are stretched from their smallest to their largest value. An EXIF orientation is applied: height, width,
    boxes and masks are those of the upright picture.

    Args:
        path: the file.
        display: what to do where a DICOM header leaves a choice.
    """

    path: Path
    display: DicomDisplay = field(default_factory=DicomDisplay)

    def read(self) -> NDArray[np.uint8]:
        """Pixels ready for display, ``[height, width]`` uint8, higher is brighter, bone is bright.

        Raises:
            StudyError: missing, empty, cut short, in another format, in colour, with one bit a pixel, of more than
                ``LARGEST_FILM_PIXELS``, or as :func:`crossray.data.dicom.read_dicom`.
        """
        start = read_start(self.path)
        if start.startswith((_PNG, _JPEG)):
            _check_depth(start, self.path)
            return _grey_film(open_picture(self.path), self.path)
        if looks_like_dicom(start):
            return read_dicom(self.path, self.display)
        raise _unknown_format(start, self.path)


@dataclass(frozen=True)
class PhotographPixels:
    """A photograph of a film in a PNG or JPEG file: its colours come from light and screen, its luminance is read."""

    path: Path

    def read(self) -> NDArray[np.uint8]:
        """Luminance, ``[height, width]`` uint8.

        Raises:
            StudyError: missing, damaged, in another format, or of more than ``LARGEST_FILM_PIXELS``.
        """
        start = read_start(self.path)
        if not start.startswith((_PNG, _JPEG)):
            raise _unknown_format(start, self.path)
        return np.array(open_picture(self.path).convert("RGB").convert("L"))


@dataclass(frozen=True)
class FileMask:
    """A mask in a PNG or JPEG file: 255 inside, 127 ignore, 0 outside; or 0 and 1, or one bit a pixel."""

    path: Path

    def read(self) -> NDArray[np.uint8]:
        """The mask, ``[height, width]`` uint8 of 0, 127 and 255.

        Raises:
            StudyError: unreadable as a picture, or with other values.
        """
        start = read_start(self.path)
        if not start.startswith((_PNG, _JPEG)):
            raise _unknown_format(start, self.path)
        values = np.asarray(open_picture(self.path).convert("L"))
        found = np.unique(values)
        if found[-1] == 1:
            return values * np.uint8(255)
        if not np.isin(found, _MASK_VALUES).all():
            shown = ", ".join(str(value) for value in found[:8])
            raise StudyError(
                f"the mask holds the values {shown}{'...' if len(found) > 8 else ''}.",
                file=self.path,
                remedy="Save it as PNG with 255 inside, 127 to ignore, 0 outside.",
            )
        return values.copy()


def open_picture(path: Path, formats: tuple[str, ...] = ("PNG", "JPEG")) -> Image.Image:
    """The picture in a file, wholly decoded and upright; its size is checked before decoding.

    Raises:
        StudyError: missing, in none of the formats, too large, damaged or cut short.
    """
    with _opened(path, formats) as picture:
        picture.load()
        return ImageOps.exif_transpose(picture)


def picture_size(path: Path, formats: tuple[str, ...] = ("PNG", "JPEG")) -> tuple[int, int]:
    """Height and width of the upright picture in a file, told by its header.

    Of a PNG that names no orientation before its pixels, the pixels are decoded too: one may stand behind them.

    Raises:
        StudyError: missing, in none of the formats, too large, or without a whole header.
    """
    with _opened(path, formats) as picture:
        on_its_side = picture.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
        return (picture.width, picture.height) if on_its_side else (picture.height, picture.width)


def claimed_pixels(path: Path) -> int:
    """Number of pixels that the header of a PNG or JPEG file claims: nothing is decoded.

    Raises:
        StudyError: as :func:`picture_size`.
    """
    with _opened(path, ("PNG", "JPEG")) as picture:
        return int(picture.width * picture.height)


@contextmanager
def _opened(path: Path, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """The picture in a file, its size checked, its pixels not yet decoded; what goes wrong with it is a StudyError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats) as picture:
                check_film_size(picture.height, picture.width, path)
                yield picture
    except StudyError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FilmSizeError(f"is too large to be a film: {error}", file=path) from error
    except Exception as error:
        # Pillow raises any type on malformed bytes: OSError, SyntaxError, ValueError, struct.error, EOFError...
        reason = str(error).replace(str(path), "the file") or type(error).__name__
        raise DamagedFilmError(
            f"is damaged or cut short ({reason}).", file=path, remedy="Export or copy it again."
        ) from error


def _grey_film(picture: Image.Image, path: Path) -> NDArray[np.uint8]:
    if picture.mode == "1":
        raise StudyError("has one bit a pixel: a mask, not a film.", file=path, remedy="Give the film itself.")
    if picture.mode.startswith("I"):
        return stretch_to_8_bit(np.asarray(picture))
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema()[0] != 255:
            raise StudyError("is partly transparent.", file=path, remedy="Save it without transparency.")
    if picture.mode == "L":
        return np.array(picture)
    return grey_from_colour(np.asarray(picture.convert("RGB")), path)


def _check_depth(start: bytes, path: Path) -> None:
    # Pillow reads 16-bit colour and 16-bit grey with alpha by their high bytes only, silently.
    if start.startswith(_PNG) and len(start) > _PNG_COLOUR_TYPE and start[_PNG_DEPTH] == 16 and start[_PNG_COLOUR_TYPE]:
        raise StudyError(
            "has 16 bits a channel and more channels than grey.",
            file=path,
            remedy="Save it as 16-bit grey without alpha.",
        )


def _unknown_format(start: bytes, path: Path) -> StudyError:
    for magic, name in _OTHER_FORMATS.items():
        if start.lstrip().startswith(magic):
            return FilmFormatError(f"is {name}: not read.", file=path, remedy=_CONVERT)
    return FilmFormatError("is neither PNG nor JPEG nor DICOM.", file=path, remedy=_CONVERT)
