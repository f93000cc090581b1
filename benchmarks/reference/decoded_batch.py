"""The data path without a prepared store: every film is decoded and resized each time it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def decoded_films(paths: Sequence[Path], side: int) -> NDArray[np.uint8]:
    """``[n, side, side]`` grey films; each file is opened, wholly decoded, and resized by area."""
    films = []
    for path in paths:
        with Image.open(path) as picture:
            films.append(np.asarray(picture.convert("L").resize((side, side), Image.Resampling.BOX)))
    return np.stack(films)
