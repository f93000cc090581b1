"""Films with something planted in them: altered copies of other films, and writing; and what may be taken for it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np
from benchmarks.audit_sensitivity import with_line
from benchmarks.planted_audit.cases import TWO_SIDES, Bases, Case
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from crossray.data.splits import SIDES
from crossray.data.study import Film, Study

_Film = NDArray[np.uint8]
_Change = Callable[[_Film], _Film]


@dataclass(frozen=True)
class Drawn:
    """A film given as bytes, so that worker processes can read it."""

    content: bytes
    height: int
    width: int

    def read(self) -> _Film:
        """Pixels ``[height, width]``."""
        return np.frombuffer(self.content, np.uint8).reshape(self.height, self.width)


def with_film(study: Study, film: _Film) -> Study:
    """The study with another film in place of its own."""
    return replace(study, films=(Film(study.films[0].film_id, "frontal", Drawn(film.tobytes(), *film.shape)),))


def _jpeg(quality: int) -> _Change:
    def change(film: _Film) -> _Film:
        buffer = io.BytesIO()
        Image.fromarray(film).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return change


def _resized(film: _Film, factor: float) -> _Film:
    size = (round(film.shape[1] * factor), round(film.shape[0] * factor))
    return np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BILINEAR))


def _grey(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> _Change:
    return lambda film: np.clip(np.rint(function(film / 255.0) * 255), 0, 255).astype(np.uint8)


def _noise(sigma: float, seed: int = 0) -> _Change:
    def change(film: _Film) -> _Film:
        drawn = np.random.default_rng([seed, int(film.sum())]).normal(0, sigma, film.shape)
        return np.clip(film + drawn, 0, 255).astype(np.uint8)

    return change


def _cropped(share: float) -> _Change:
    def change(film: _Film) -> _Film:
        top, left = (round(side * share) for side in film.shape)
        return np.ascontiguousarray(film[top : film.shape[0] - top, left : film.shape[1] - left])

    return change


def _turned(degrees: float, shift: tuple[float, float] = (0, 0)) -> _Change:
    return lambda film: ndimage.shift(ndimage.rotate(film, degrees, reshape=False, order=1), shift, order=1)


_COPIES: Mapping[str, _Change] = {
    "pixel for pixel": lambda film: film,
    "JPEG of quality 90": _jpeg(90),
    "JPEG of quality 50": _jpeg(50),
    "noise of 4 grey values": _noise(4),
    "half the size": lambda film: _resized(film, 0.5),
    "twice the size": lambda film: _resized(film, 2),
    "gamma 0.8": _grey(lambda film: film**0.8),
    "gamma 1.25": _grey(lambda film: film**1.25),
    "1.05 times brighter": _grey(lambda film: film * 1.05),
    "1.2 times brighter": _grey(lambda film: film * 1.2),
    "less contrast": _grey(lambda film: 0.2 + film * 0.6),
    "blurred": lambda film: np.asarray(Image.fromarray(film).filter(ImageFilter.GaussianBlur(1.5))),
    "a side mark added": lambda film: _marked(film, "L", 0.05),
    "black and white exchanged": lambda film: 255 - film,
    "mirrored": lambda film: film[:, ::-1].copy(),
    "upside down": lambda film: film[::-1].copy(),
    "shifted by a pixel": lambda film: np.roll(film, 1, axis=1),
    "turned by half a degree": _turned(0.5),
    "1 % cut from each side": _cropped(0.01),
    "2 % cut from each side": _cropped(0.02),
}
_NO_COPIES: Mapping[str, _Change] = {
    "the same chest taken anew": lambda film: _noise(4, 1)(_turned(4, (9, -6))(film)),
    "the same chest, deeper breath": lambda film: _noise(4, 2)(_turned(-2)(_taller(film, 1.1))),
    "the same chest from nearer": lambda film: _noise(4, 3)(_cropped(0.07)(film)),
}


def _taller(film: _Film, factor: float) -> _Film:
    size = (film.shape[1], round(film.shape[0] * factor))
    return np.asarray(Image.fromarray(film).resize(size, Image.Resampling.BILINEAR))[: film.shape[0]]


def cases_of_copies(bases: Bases) -> Iterator[Case]:
    """Two patients' films, one of them a copy of the other but for a change, or another film of a like chest."""
    for planted, changes in ((True, _COPIES), (False, _NO_COPIES)):
        times = range(1 if planted else 4)
        for (form, change), sides, _ in product(changes.items(), TWO_SIDES, times):
            one, other = bases.pair()
            film = one.films[0].pixels.read()
            pair = with_film(one, film), with_film(other, np.ascontiguousarray(change(film)))
            yield Case("near-duplicate films", form, planted, pair, sides)


def _marked(film: _Film, text: str, at: float) -> _Film:
    """A side mark: one or two letters, as large as they are on films."""
    image = Image.fromarray(film)
    draw = ImageDraw.Draw(image)
    draw.text((film.shape[1] * at, film.shape[0] * 0.05), text, fill=230, font_size=film.shape[0] // 14)
    return np.asarray(image)


def _drawn(paint: Callable[[ImageDraw.ImageDraw, int, int, np.random.Generator], None]) -> _Change:
    def change(film: _Film) -> _Film:
        image = Image.fromarray(film)
        paint(ImageDraw.Draw(image), film.shape[1], film.shape[0], np.random.default_rng(int(film.sum())))
        return np.asarray(image)

    return change


def _wires(draw: ImageDraw.ImageDraw, width: int, height: int, rng: np.random.Generator) -> None:
    for _ in range(3):
        x, slope, bend = rng.uniform(0.2, 0.8), rng.uniform(-0.3, 0.3), rng.uniform(-0.1, 0.1)
        ways = np.linspace(0, 1, 40)
        line = [(width * (x + slope * t + bend * np.sin(6 * t)), height * t) for t in ways]
        draw.line(line, fill=235, width=2)


def _clips(draw: ImageDraw.ImageDraw, width: int, height: int, rng: np.random.Generator) -> None:
    for x, y in rng.uniform(0.2, 0.8, (12, 2)):
        draw.line([(width * x, height * y), (width * x + 5, height * y + 2)], fill=255, width=2)


def _electrodes(draw: ImageDraw.ImageDraw, width: int, height: int, rng: np.random.Generator) -> None:
    for x, y in rng.uniform(0.2, 0.8, (5, 2)):
        draw.ellipse([width * x, height * y, width * x + 9, height * y + 9], outline=240, width=2)


def _rails(draw: ImageDraw.ImageDraw, width: int, height: int, rng: np.random.Generator) -> None:
    for y in (0.9, 0.95):
        draw.line([(0, height * y), (width, height * y)], fill=240, width=2)


_NO_WRITING: Mapping[str, _Change] = {
    "side mark L": lambda film: _marked(film, "L", 0.05),
    "side mark R": lambda film: _marked(film, "R", 0.85),
    "side mark PA": lambda film: _marked(film, "PA", 0.05),
    "wires": _drawn(_wires),
    "surgical clips": _drawn(_clips),
    "electrodes": _drawn(_electrodes),
    "an empty label": _drawn(lambda d, w, h, _: d.rectangle([w * 0.7, h * 0.02, w * 0.97, h * 0.09], fill=240)),
    "a bright frame": _drawn(lambda d, w, h, _: d.rectangle([3, 3, w - 4, h - 4], outline=240, width=3)),
    "a pacemaker": _drawn(lambda d, w, h, _: d.rounded_rectangle([w * 0.7, h * 0.2, w * 0.85, h * 0.3], 8, fill=250)),
    "rails of the table": _drawn(_rails),
}  # fmt: skip
_LINES = ("ROE JANE 1950-01-02", "MRN 88421907", "ST. ELSEWHERE HOSPITAL", "14.03.2019 10:32", "ROE J")


def _black_on_white(film: _Film, line: str) -> _Film:
    size = film.shape[0]
    label = np.full((size, size), 245, np.uint8)
    written = with_line(label, line, 4, 0, at_border=True)
    return np.asarray(np.where(np.arange(size)[:, None] < size * 0.09, written, film)).astype(np.uint8)


def cases_of_writing(bases: Bases) -> Iterator[Case]:
    """Films with a line of letters, of several heights, greys and places, and films with other bright things."""
    kind = "burned-in text suspected"

    def case(form: str, planted: bool, change: _Change, number: int) -> Case:
        study = bases.next()
        film = _square(study.films[0].pixels.read())
        return Case(kind, form, planted, (with_film(study, change(film)),), (SIDES[number % 3],))

    for number, line in enumerate(_LINES):
        for height, grey, at_border in product((3, 4, 6), (255, 200), (True, False)):
            form = f"{'upper border' if at_border else 'middle'}, grey {grey}"
            written = partial(with_line, line=line, height=height, grey=grey, at_border=at_border)
            yield case(form, True, written, number)
        yield case("down the side", True, partial(_down, line=line), number)
        yield case("black on a white label", True, partial(_black_on_white, line=line), number)
    for (form, change), number in product(_NO_WRITING.items(), range(4)):
        yield case(form, False, change, number)


def _down(film: _Film, line: str) -> _Film:
    return np.ascontiguousarray(np.rot90(with_line(np.rot90(film, -1).copy(), line, 4, 255, at_border=True)))


def _square(film: _Film) -> _Film:
    """The film padded to a square, as preparation does: letters are drawn on what the audit looks at."""
    side = max(film.shape)
    padding = [((side - length) // 2, side - length - (side - length) // 2) for length in film.shape]
    return np.pad(film, padding)
