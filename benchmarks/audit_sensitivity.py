"""How often the audit suspects text that was drawn on films, and how often it suspects text where there is none.

    python -m benchmarks.audit_sensitivity --films 200
    python -m benchmarks.audit_sensitivity --store store/iu_xray

Words are drawn on phantom films four times as large and averaged down, as preparation does with them. Of a store the
films are counted that are suspected as they are.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from crossray.data.audit.burned_in import looks_written_on
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.build import build_source
from crossray.data.store import Store

HEIGHTS = (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 14, 20)  # of a capital letter, in hundredths of the film's side
GREYS = (255, 200, 150)  # 150 over a film is what a faint stamp leaves
LINES = ("ROE JANE 1950-01-02", "ROE J")
LARGER = 4


def with_line(film: NDArray[np.uint8], line: str, height: float, grey: int, *, at_border: bool) -> NDArray[np.uint8]:
    """The film with a line of letters, ``height`` hundredths of its side tall, at the upper border or in the middle."""
    side = film.shape[0] * LARGER
    image = Image.fromarray(film).resize((side, side), Image.Resampling.BICUBIC)
    font = ImageFont.load_default(size=height / 100 * side / 0.72)  # a capital is 0.72 of a font's size
    ImageDraw.Draw(image).text((side * 0.03, side * (0.02 if at_border else 0.45)), line, fill=grey, font=font)
    return np.asarray(image.resize(film.shape, Image.Resampling.BOX))


def rates(films: NDArray[np.uint8]) -> Iterator[str]:
    yield f"without text: {int(looks_written_on(films).sum())} of {len(films)} films suspected"
    for line, at_border, grey in product(LINES, (True, False), GREYS):
        found = []
        for height in HEIGHTS:
            drawn = np.stack([with_line(film, line, height, grey, at_border=at_border) for film in films])
            found.append(f"{height}%: {int(looks_written_on(drawn).sum())}")
        place = "upper border" if at_border else "middle"
        yield f"{line!r}, {place}, grey {grey}: {'  '.join(found)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--size", type=int, default=256, help="side of phantom films")
    parser.add_argument("--store", type=Path, help="count the films of a store that are suspected")
    given = parser.parse_args()
    if given.store is not None:
        store = Store.open(given.store)
        blocks = (range(at, min(at + 256, store.film_count)) for at in range(0, store.film_count, 256))
        found = sum(int(looks_written_on(store.pixels(block)).sum()) for block in blocks)
        print(f"{found} of {store.film_count} films of {store.prepared_size} pixels suspected")
        return
    with tempfile.TemporaryDirectory() as folder:
        phantom = build_source("phantom", None, {"count": given.films, "seed": 11})
        prepare_store(phantom, Path(folder) / "store", PrepareConfig(size=given.size))
        films = Store.open(Path(folder) / "store").pixels(np.arange(given.films))
    print(f"{len(films)} films of {films.shape[1]} pixels; found of them, by height of a capital")
    for line in rates(films):
        print(line)


if __name__ == "__main__":
    main()
