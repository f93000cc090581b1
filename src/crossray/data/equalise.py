"""Global histogram equalisation, as the localized tasks prepare most of their films (localized_evaluation spec, §5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.images import FilmPixels
from crossray.data.study import PixelSource


@dataclass(frozen=True)
class EqualisedPixels:
    """The pixels of another source, equalised when they are read. Small and picklable as that source is.

    Only the pixels of the film take part: it is equalised before it is padded to a square.
    """

    pixels: PixelSource

    def read(self) -> NDArray[np.uint8]:
        """Equalised pixels, ``[height, width]`` uint8.

        Raises:
            StudyError: as the source within.
        """
        return equalise(self.pixels.read())


def film_pixels(path: Path, *, equalised: bool) -> PixelSource:
    """The pixels of a film's file, as they are or equalised."""
    return EqualisedPixels(FilmPixels(path)) if equalised else FilmPixels(path)


def equalise(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A film of which each grey level is the share of pixels that are not brighter, times 255.

    The 256-bin cumulative histogram of scikit-image's ``equalize_hist`` on 8-bit pixels, brought back to 8 bits by
    rounding half to even (as its ``img_as_ubyte`` does). The darkest level is therefore seldom 0, the brightest is
    always 255, and a film of one single grey level becomes 255.

    Args:
        pixels: ``[height, width]`` uint8, at least one pixel.

    Returns:
        ``[height, width]`` uint8.
    """
    # One table of 256 entries instead of an interpolation per pixel: exact, because a level is a bin.
    not_brighter = np.cumsum(np.bincount(pixels.ravel(), minlength=256))
    table: NDArray[np.uint8] = np.rint(not_brighter / not_brighter[-1] * 255.0).astype(np.uint8)
    return table[pixels]
