"""Phrases of a report laid over the film they point at, with the true boxes where they are known (the phantom)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossray.data.augment import evaluation_window
from crossray.data.findings import Mention, find_mentions
from crossray.data.geometry import CropWindow, FilmGeometry
from crossray.data.reports import parse_report
from crossray.data.store import Store
from crossray.data.study import Box
from crossray.data.text import SelectedText
from crossray.evaluation.cohort import Part
from crossray.evaluation.grounding import box_mask, film_heat
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.report.pictures import Picture, film_picture, heat_picture
from crossray.inference.joint_model import JointModel
from crossray.methods.base import GroundsWords

PHRASES_SHOWN = 3


@dataclass(frozen=True)
class PhraseMap:
    """A phrase and where it points.

    ``inside`` is the share of the map that falls into the true boxes and ``area`` their share of the film (both
    ``None`` where no truth is known): a map that ignores the phrase has inside = area.
    """

    phrase: str
    picture: Picture
    inside: float | None
    area: float | None


@dataclass(frozen=True)
class GroundedFilm:
    """A film, its report, and maps of some of its phrases."""

    study_id: str
    picture: Picture
    report: str
    maps: tuple[PhraseMap, ...]


@dataclass(frozen=True)
class _Phrase:
    text: str
    words: tuple[int, ...]
    boxes: tuple[Box, ...]


def grounded_films(
    model: JointModel, store: Store, part: Part, rows: NDArray[np.int64], count: int
) -> list[GroundedFilm]:
    """Maps for the first ``count`` of ``rows`` whose report has a phrase to show."""
    films: list[GroundedFilm] = []
    window = evaluation_window(store.prepared_size, model.image_config)
    for row in rows.tolist():
        film, text = int(part.films[row]), part.texts[row]
        words = model.tokenizer.words(text)
        phrases = list(_phrases(store, part, row, model, words))[:PHRASES_SHOWN]
        if not phrases:
            continue
        pixels, geometry = store.pixels([film])[0], store.film(film).geometry
        heats = zip(phrases, _heats(model, pixels, text, phrases), strict=True)
        maps = tuple(_phrase_map(phrase, heat, pixels, geometry, window) for phrase, heat in heats)
        films.append(GroundedFilm(part.study_ids[row], film_picture(pixels, geometry), text.text, maps))
        if len(films) == count:
            break
    return films


def _phrases(store: Store, part: Part, row: int, model: JointModel, words: Sequence[str]) -> Iterator[_Phrase]:
    """Phrases whose region is known, else those that name a finding as present."""
    study, film_id = int(part.studies[row]), store.film(int(part.films[row])).film_id
    report = store.report(study)
    known = [region for region in store.phrase_regions(study) if region.film_id == film_id and region.boxes]
    found = [(region.span.of(report.text), region.boxes) for region in known]
    if not found:
        own = parse_report(part.texts[row].text)
        mentions = [m for m in find_mentions(own) if m.mention is Mention.PRESENT and m.finding != "No Finding"]
        found = [(mention.span.of(own.text), ()) for mention in mentions]
    for phrase, boxes in dict(found).items():
        place = find_words(words, model.tokenizer.words(phrase))
        if place is not None:
            yield _Phrase(phrase, place, boxes)


def find_words(words: Sequence[str], phrase: Sequence[str]) -> tuple[int, ...] | None:
    """Indices of the first occurrence of a phrase among the words, whatever their case; ``None`` if there is none."""
    wanted = [word.casefold() for word in phrase]
    have = [word.casefold() for word in words]
    starts = range(len(have) - len(wanted) + 1)
    start = next((i for i in starts if have[i : i + len(wanted)] == wanted), None) if wanted else None
    return None if start is None else tuple(range(start, start + len(wanted)))


def _heats(
    model: JointModel, pixels: NDArray[np.uint8], text: SelectedText, phrases: Sequence[_Phrase]
) -> list[FloatArray]:
    """A map for each phrase: the mean attention of its words in the whole report, else the method's map of it alone."""
    if isinstance(model.method, GroundsWords):
        attention = model.word_region_attention(pixels, text)
        return [attention.maps[list(phrase.words)].mean(dim=0).double().numpy() for phrase in phrases]
    film = model.embed_images(pixels[None])
    return list(model.phrase_map(film, [phrase.text for phrase in phrases], [0] * len(phrases)).double().numpy())


def _phrase_map(
    phrase: _Phrase, heat: FloatArray, pixels: NDArray[np.uint8], geometry: FilmGeometry, window: CropWindow
) -> PhraseMap:
    inside, area = _share_inside(heat, geometry, window, phrase.boxes) if phrase.boxes else (None, None)
    return PhraseMap(phrase.text, heat_picture(pixels, geometry, heat, window, phrase.boxes), inside, area)


def _share_inside(
    heat: FloatArray, geometry: FilmGeometry, window: CropWindow, boxes: Sequence[Box]
) -> tuple[float, float]:
    """Share of the map (above its lowest pixel), and of the film, inside the union of the boxes."""
    inside, spread = box_mask(geometry, boxes), film_heat(heat, geometry, window)
    area = float(inside.mean())
    return float(spread[inside].sum() / spread.sum()) if spread.any() else area, area
