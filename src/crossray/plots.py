"""Pictures for notebooks and papers, one function each and one look: ``from crossray import plots``.

Each returns a matplotlib figure: the last line of a cell shows it, ``figure.savefig("picture.png")`` keeps it.
Research only, not for diagnosis.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossray.data.images import FilmPixels
from crossray.data.study import Box
from crossray.errors import ConfigError
from crossray.evaluation.calibration import bin_edges, expected_calibration_error, reliability
from crossray.evaluation.figure_style import BLUE, GREEN, GREY, STYLE
from crossray.evaluation.report.pictures import overlay
from crossray.inference.model import Film

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLE_LETTERS, _CAPTION_LETTERS = 40, 34  # of a line over and below a film


def plot_grounding(film: Film, heat: NDArray[np.floating], phrase: str, boxes: Sequence[Box] = ()) -> Figure:
    """A film, and beside it the same film with where a phrase points.

    The strongest place is orange, the weakest clear: strength is relative within one map, and every phrase points
    somewhere.

    Args:
        film: a file, or grey pixels ``[height, width]``.
        heat: ``[height, width]`` of the film's own pixels: what ``Model.ground(film, phrase)`` gives.
        phrase: the words.
        boxes: where it truly is, if that is known; in pixels of the film.

    Raises:
        ConfigError: film and map are not of one size.
        StudyError: the file cannot be read as a film.
    """
    pixels = _pixels(film)
    if heat.shape != pixels.shape:
        raise ConfigError(f"the map is {heat.shape}, the film {pixels.shape}: give the map of this film.")
    with _figure(2 * 3.2, 3.2 * pixels.shape[0] / pixels.shape[1] + 0.5) as figure:
        plain, mapped = figure.subplots(1, 2)
        _show(plain, pixels, "film")
        _show(mapped, overlay(pixels, heat, float(heat.min()), float(heat.max())), f"“{phrase}”")
        for box in boxes:
            _outline(mapped, box)
    return figure


def plot_retrieval(query: Film, films: Sequence[Film], scores: Sequence[float], captions: Sequence[str] = ()) -> Figure:
    """A query and the films that are nearest to it, best first, each with its score.

    Args:
        query: a film's file or pixels; a string that names no file is a sentence.
        films: what was found.
        scores: of each, a cosine.
        captions: for each, such as its report; three lines are shown.

    Raises:
        ConfigError: nothing was found, or there are not as many scores (or captions) as films.
        StudyError: a file cannot be read as a film.
    """
    if not films or len(scores) != len(films) or (captions and len(captions) != len(films)):
        raise ConfigError(f"there are {len(films)} films, {len(scores)} scores and {len(captions)} captions.")
    sentence = isinstance(query, str) and not Path(query).is_file()
    shown = [] if sentence else [(_pixels(query), "query")]
    for place, (film, score) in enumerate(zip(films, scores, strict=True)):
        shown.append((_pixels(film), f"{place + 1}: {score:+.3f}"))
    with _figure(1.9 * len(shown), 2.2 + 0.5 * bool(captions)) as figure:
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (pixels, title) in zip(panels, shown, strict=True):
            _show(axes, pixels, title)
        for axes, caption in zip(panels[len(shown) - len(films) :], captions, strict=False):
            short = textwrap.shorten(caption, 3 * _CAPTION_LETTERS, placeholder=" ...")
            lines = "\n".join(textwrap.wrap(short, _CAPTION_LETTERS))
            axes.text(0, -0.03, lines, transform=axes.transAxes, verticalalignment="top", fontsize=7)
        if sentence:
            figure.suptitle(f"“{query}”", fontsize=9, fontweight="bold", x=0.01, ha="left")
    return figure


def plot_reliability(probabilities: ArrayLike, labels: ArrayLike, name: str = "", bins: int = 10) -> Figure:
    """Whether of the films called 70 % likely, 70 % have the finding; below it, how many films each bin holds.

    Scores of ``Model.classify`` are no probabilities: calibrate them first, on studies that are not shown here.

    Args:
        probabilities: ``[n]`` from 0 to 1.
        labels: ``[n]``, 1 present, 0 absent, NaN unknown (left out).
        name: of the finding.
        bins: of equal width.

    Raises:
        ConfigError: the two are not of one length, no label is known, or a probability is not between 0 and 1.
    """
    said, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if said.shape != truth.shape or not (~np.isnan(truth)).any():
        raise ConfigError(f"there are {said.size} probabilities and {(~np.isnan(truth)).sum()} known labels.")
    edges = bin_edges(said, bins)
    try:
        curve, error = reliability(said, truth, edges), float(expected_calibration_error(said, truth, edges)[0])
    except ValueError as problem:
        raise ConfigError(f"{problem}.") from problem
    with _figure(3.6, 4.2) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
        upper.plot(curve.probability, curve.frequency, color=BLUE, marker="o", markersize=4, linewidth=1.4)
        upper.set(title=f"{name} (ECE {error:.3f})".strip(), ylabel="share with the finding", ylim=(-0.02, 1.02))
        lower.bar(curve.probability, curve.count, width=0.6 / bins, color=BLUE)
        lower.set(xlabel="said probability", ylabel="films", xlim=(-0.02, 1.02))
    return figure


def _pixels(film: Film) -> NDArray[np.uint8]:
    return film if isinstance(film, np.ndarray) else FilmPixels(Path(film)).read()


def _show(axes: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    axes.set_title("\n".join(textwrap.wrap(title, _TITLE_LETTERS)))
    axes.set_axis_off()


def _outline(axes: Axes, box: Box) -> None:
    from matplotlib.patches import Rectangle

    size = box.x_max - box.x_min, box.y_max - box.y_min
    # Edges lie between pixels, the axes of a picture run through the pixels' middles.
    axes.add_patch(Rectangle((box.x_min - 0.5, box.y_min - 0.5), *size, fill=False, edgecolor=GREEN, linewidth=1.4))


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    """A figure that notebooks know how to show, and show once: made by pyplot, and closed there."""
    from matplotlib import pyplot, rc_context

    style: Any = STYLE  # matplotlib types the keys one by one
    with rc_context(style):
        figure = pyplot.figure(figsize=(width, height), layout="constrained")
        yield figure
        pyplot.close(figure)
