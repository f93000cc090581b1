"""Draw the README's picture from a finished demo: ``python docs/images/draw_word_heat_maps.py demo``.

It shows phantom films only. Each row is a study that the model did not train on: the film, and where the words of a
phrase of its report look; the outline is the region that the phantom knows the phrase to speak of.
"""

from __future__ import annotations

import base64
import io
import sys
import textwrap
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from crossray.data.split_files import read_split
from crossray.data.store import Store
from crossray.evaluation.cohort import build_cohort
from crossray.evaluation.report.grounding import GroundedFilm, grounded_films
from crossray.evaluation.report.pictures import Picture
from crossray.inference.joint_model import JointModel

PICTURE = Path(__file__).with_name("word_heat_maps.png")
STUDIES, PHRASES = 3, 2


def chosen_films(demo: Path) -> list[GroundedFilm]:
    """The first test studies whose report has two phrases with a known region."""
    store, model = Store.open(demo / "store"), JointModel.load(demo / "run")
    fold = read_split(demo / "split.json").fold("fixed")
    test = build_cohort(store, fold, (), ("frontal",), model.text_config).test
    films = grounded_films(model, store, test, np.arange(len(test)), len(test))
    known = [film for film in films if sum(phrase.inside is not None for phrase in film.maps) >= PHRASES]
    return known[:STUDIES]


def show(axes: Axes, picture: Picture, title: str) -> None:
    """One picture with its boxes, its title above it."""
    pixels = Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    for box in picture.boxes:
        corner = (box.left / 100 * picture.width, box.top / 100 * picture.height)
        size = (box.width / 100 * picture.width, box.height / 100 * picture.height)
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="#4fd0c7", linewidth=1.2))
    axes.set_title("\n".join(textwrap.wrap(title, 38)), fontsize=8.5)
    axes.set_axis_off()


def main(demo: Path) -> None:
    """Draw and save."""
    films = chosen_films(demo)
    figure, rows = plt.subplots(len(films), 1 + PHRASES, figsize=(7.2, 2.65 * len(films)), squeeze=False)
    for row, film in zip(rows, films, strict=True):
        show(row[0], film.picture, "phantom film")
        for axes, phrase in zip(row[1:], film.maps, strict=False):
            show(axes, phrase.picture, f"“{phrase.phrase}”")
    figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    # A palette keeps the repository small; films are grey and the maps have one colour scale.
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
