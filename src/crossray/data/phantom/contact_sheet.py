"""A contact sheet of phantom films: ``python -m crossray.data.phantom.contact_sheet OUT.png``.

Each film is shown as it is and, beside it with ``--boxes``, with its boxes and masks laid over.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from crossray.data.phantom.presets import PRESETS
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.study import Study


def contact_sheet(config: PhantomConfig, columns: int, *, boxes: bool) -> Image.Image:
    """The studies of a config on one picture, row by row."""
    tiles = [_tile(study, config.size, boxes=boxes) for study in PhantomSource(config).studies()]
    rows = -(-len(tiles) // columns)
    pitch = config.size + 6
    sheet = Image.new("RGB", (columns * pitch, rows * (pitch + 14)))
    for index, tile in enumerate(tiles):
        sheet.paste(tile, ((index % columns) * pitch, (index // columns) * (pitch + 14)))
    return sheet


def _tile(study: Study, size: int, *, boxes: bool) -> Image.Image:
    film = study.films[0]
    grey = film.pixels.read()
    colour = np.repeat(grey[:, :, None], 3, axis=2).astype(np.float64)
    if boxes:
        for mask in film.masks.values():
            colour[mask.read() > 127] += (45, 0, -20)
    tile = Image.new("RGB", (size, size + 14))
    tile.paste(Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8)), (0, 14))
    pen = ImageDraw.Draw(tile)
    if boxes:
        for box in film.boxes:
            pen.rectangle((box.x_min, box.y_min + 14, box.x_max - 1, box.y_max + 13), outline=(255, 220, 60))
    skipped = ("Lung Opacity", "Enlarged Cardiomediastinum")
    names = [name for name, value in study.labels.items() if value == 1 and name not in skipped]
    pen.text((2, 1), f"{study.study_id[-6:]} {', '.join(names)}", fill=(255, 255, 255))
    return tile


def main() -> None:
    """Write a contact sheet and, on request, print the reports."""
    parser = argparse.ArgumentParser(description="Write a contact sheet of phantom films.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--difficulty", default="medium", choices=tuple(PRESETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--boxes", action="store_true", help="lay masks and boxes over the films")
    parser.add_argument("--reports", action="store_true", help="print the reports")
    chosen = parser.parse_args()
    config = PhantomConfig(
        seed=chosen.seed, first=chosen.first, count=chosen.count, difficulty=chosen.difficulty, size=chosen.size
    )
    contact_sheet(config, chosen.columns, boxes=chosen.boxes).save(chosen.output)
    if chosen.reports:
        for study in PhantomSource(config).studies():
            print(f"{study.study_id} ({study.patient_id})\n{study.report.text}\n")


if __name__ == "__main__":
    main()
