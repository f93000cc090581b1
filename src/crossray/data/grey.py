"""What every reader of films agrees on: how large a film may be, what counts as grey, how deep pixels become 8-bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.film_errors import ColourFilmError, FilmSizeError

#: Most pixels that a film may have. Checked in the header, before anything is decoded: a file of some kilobytes can
#: claim gigabytes (a decompression bomb). The largest chest detectors give about 20 million.
LARGEST_FILM_PIXELS = 64_000_000

#: Largest difference between colour channels that lossy compression leaves on a grey film, in grey levels.
CHANNEL_TOLERANCE = 16

#: Largest share of pixels that may differ more: a coloured side marker or label does not make a film a photograph.
COLOURED_SHARE = 0.01


def check_film_size(height: int, width: int, path: Path) -> None:
    """Refuse a film that claims no pixels, or too many.

    Raises:
        StudyError: with the size and the limit.
    """
    if height < 1 or width < 1:
        raise FilmSizeError(f"the film claims {height} x {width} pixels.", file=path, remedy="Export it again.")
    if height * width > LARGEST_FILM_PIXELS:
        raise FilmSizeError(
            f"the film claims {height} x {width} pixels, more than {LARGEST_FILM_PIXELS:,}: not decoded.",
            file=path,
            remedy="If it is a real film, make it smaller first.",
        )


def grey_from_colour(pixels: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """``[height, width, 3]`` RGB of a film that is really grey, as ``[height, width]`` (the mean of the channels).

    Raises:
        StudyError: more than :data:`COLOURED_SHARE` of the pixels differ by more than :data:`CHANNEL_TOLERANCE`
            between channels.
    """
    spread = pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)
    coloured = float((spread > CHANNEL_TOLERANCE).mean())
    if coloured > COLOURED_SHARE:
        raise ColourFilmError(
            f"the picture is in colour ({coloured:.0%} of its pixels).",
            file=path,
            remedy="A radiograph is grey: if it is one, convert it to grey first.",
        )
    grey: NDArray[np.uint8] = np.rint(pixels.mean(axis=2, dtype=np.float32)).astype(np.uint8)
    return grey


def stretch_to_8_bit(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Integer pixels stretched so that their smallest value becomes 0 and their largest 255.

    The rule for deep pixels that come without a window: a 12-bit film in a 16-bit file would be almost black if the
    file's full range were taken instead. A film of one single value becomes 0.
    """
    lowest, highest = int(values.min()), int(values.max())
    table = np.rint(np.linspace(0.0, 255.0, max(highest - lowest + 1, 2))).astype(np.uint8)
    stretched: NDArray[np.uint8] = table[values.astype(np.int64) - lowest]
    return stretched
