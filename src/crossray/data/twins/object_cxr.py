"""Twin of Object-CXR: bright objects of the publisher's three shapes, drawn on films of varying size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.twins.files import Cell, write_jpeg, write_table
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

RECTANGLE, ELLIPSE, POLYGON = 0, 1, 2
_TRAIN_SHARE = 0.75
_CUT = 4  # columns that one film in three loses once, one twice


@dataclass(frozen=True)
class TwinFilm:
    """A film: its part (``train`` or ``dev``), name, pixels ``[height, width]`` uint8, and objects.

    An object is its type and whole x and y in turn, as in the annotation.
    """

    part: str
    name: str
    pixels: NDArray[np.uint8]
    objects: tuple[tuple[int, ...], ...]


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin; half of the films have objects."""
    made = films(config)
    counts = {
        "studies": len(made),
        "positive Foreign Object": sum(bool(film.objects) for film in made),
        "boxes": sum(len(film.objects) for film in made),
    }
    for part in ("train", "dev"):
        rows: list[list[Cell]] = []
        for film in made:
            if film.part == part:
                write_jpeg(out / part / film.name, film.pixels)
                rows.append([film.name, ";".join(" ".join(map(str, item)) for item in film.objects)])
        write_table(out / f"{part}.csv", ("image_name", "annotation"), rows)
        counts[f"images of {part}"] = len(rows)
    return ExpectedCounts(counts=counts)


def films(config: TwinConfig) -> list[TwinFilm]:
    """The films of the twin, train first."""
    studies = twin_studies(config)
    train = round(_TRAIN_SHARE * len(studies))
    return [_film("train" if study.number < train else "dev", study, config.seed) for study in studies]


def _film(part: str, study: TwinStudy, seed: int) -> TwinFilm:
    width = study.pixels.shape[1] - _CUT * (study.number % 3)
    pixels = study.pixels[:, :width].copy()
    objects: list[tuple[int, ...]] = []
    if study.number % 2:
        # All three shapes turn up in every six films, alone and together.
        kinds = ((RECTANGLE,), (ELLIPSE, POLYGON), (POLYGON,), (ELLIPSE,), (RECTANGLE, ELLIPSE))
        rng = np.random.default_rng([seed, 3, study.number])
        for kind in kinds[study.number // 2 % len(kinds)]:
            objects.append(_object(kind, pixels, rng))
    return TwinFilm(part, f"{study.number + 1:05d}.jpg", pixels, tuple(objects))


def _object(kind: int, pixels: NDArray[np.uint8], rng: np.random.Generator) -> tuple[int, ...]:
    """An object somewhere on the film, at least four pixels large; its box is drawn bright."""
    height, width = pixels.shape
    across, down = int(rng.integers(8, width // 3)), int(rng.integers(5, height // 4))
    left, top = int(rng.integers(0, width - across)), int(rng.integers(0, height - down))
    right, bottom = left + across, top + down
    pixels[top:bottom, left:right] = np.maximum(pixels[top:bottom, left:right], 225)
    if kind == POLYGON:  # a kite, which is another shape when x and y are exchanged
        middle = left + across // 3
        return kind, left, top + down // 2, middle, top, right, top + down // 2, middle, bottom
    return kind, left, top, right, bottom
