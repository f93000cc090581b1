"""The phrases of a part of a fold whose place on the film is known, and the text a model is given for each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from crossray.data.geometry import FilmGeometry
from crossray.data.store import Store
from crossray.data.study import Box, Report, Span
from crossray.evaluation.cohort import Part
from crossray.evaluation.grounding import GroundingConfig

_BOTH = re.compile(r"\b(bilateral\w*|both|bibasilar|biapical)\b", re.IGNORECASE)
_LEFT = re.compile(r"\b(left\w*|lingula\w*)\b", re.IGNORECASE)
_RIGHT = re.compile(r"\bright\w*\b", re.IGNORECASE)


@dataclass(frozen=True)
class Phrase:
    """A phrase and where it lies.

    Attributes:
        row: its study's place in the part.
        finding: what it names.
        side: the patient's side by the phrase's own words: "left", "right", "both" or "" (none is said).
        text: what the model is given.
        boxes: in pixels of the original film, clipped to it; at least one.
    """

    row: int
    finding: str
    side: str
    text: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class KnownPhrases:
    """Phrases with a box on the part's films, the films' geometry for each, and how many phrases have none there."""

    phrases: tuple[Phrase, ...]
    geometries: tuple[FilmGeometry, ...]
    left_out: int

    def __len__(self) -> int:
        return len(self.phrases)


def known_phrases(store: Store, part: Part, config: GroundingConfig) -> KnownPhrases:
    """The phrases of the wanted findings, in the part's order; one said twice in the same words counts once."""
    found: dict[Phrase, FilmGeometry] = {}
    left_out = 0
    for row, (study, film_row) in enumerate(zip(part.studies.tolist(), part.films.tolist(), strict=True)):
        regions = store.phrase_regions(study)
        if not regions:
            continue
        film, report = store.film(film_row), store.report(study)
        for region in regions:
            if config.findings and region.label not in config.findings:
                continue
            clipped = [film.geometry.clip_to_film(box) for box in region.boxes if region.film_id == film.film_id]
            boxes = tuple(box for box in clipped if box is not None)
            if not boxes:
                left_out += 1
                continue
            words = region.span.of(report.text)
            text = words if config.text == "phrase" else sentence_of(report, region.span)
            found[Phrase(row, region.label, side_of(words), " ".join(text.split()), boxes)] = film.geometry
    return KnownPhrases(tuple(found), tuple(found.values()), left_out)


def side_of(words: str) -> str:
    """The side that words speak of: "left", "right", "both", or "" if they name none."""
    left, right = _LEFT.search(words), _RIGHT.search(words)
    if _BOTH.search(words) or (left and right):
        return "both"
    return "left" if left else "right" if right else ""


def sentence_of(report: Report, span: Span) -> str:
    """The sentence that holds a span (several, if it runs over their border); the span's own words if none does."""
    touched = [s.span for s in report.sentences if s.span.start < span.end and span.start < s.span.end]
    if not touched:
        return span.of(report.text)
    return Span(touched[0].start, touched[-1].end).of(report.text)
