"""Floors of grounding: maps that never look at the film. What a method's map adds must show beside them.

From least to most knowing: the film's centre; where any finding's boxes lie; where this finding's lie; where they lie
on the side that the phrase names; and a ridge regression from the phrase's words (size, lobe and side among them) to
its boxes, which is the best guess that text alone allows. All are fitted on the fold's training side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crossray.data.geometry import FilmGeometry
from crossray.data.resample import sampling_weights
from crossray.data.study import Box
from crossray.evaluation.grounding import GroundingConfig
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.phrases import KnownPhrases, Phrase

CENTRE = "film's centre"
ANY_PRIOR = "mean of all boxes"
FINDING_PRIOR = "mean of the finding's boxes"
SIDE_PRIOR = "mean of the finding's boxes on its side"
WORDS_PRIOR = "ridge from words to boxes"
BLIND = (CENTRE, ANY_PRIOR, FINDING_PRIOR, SIDE_PRIOR, WORDS_PRIOR)

#: Maps of floors have so many rows and columns, whatever the film's shape: they are drawn over the film.
GRID = 48

_ALPHAS = (0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class GroundingFloors:
    """The floors of one fold: each has a map over the film for any phrase.

    Attributes:
        train: phrases of the training side; without any there is only the centre.
        config: the centre's width.
    """

    train: KnownPhrases
    config: GroundingConfig

    def maps(self, phrases: Sequence[Phrase]) -> dict[str, FloatArray]:
        """Floor → maps ``[P, GRID, GRID]`` over the phrases' films."""
        centre = centre_map(self.config.centre_width)
        found = {CENTRE: np.broadcast_to(centre, (len(phrases), GRID, GRID))}
        if not len(self.train):
            return found
        everything = self._boxes.mean(axis=0)
        by_finding = self._means((phrase.finding,) for phrase in self.train.phrases)
        by_side = self._means((phrase.finding, phrase.side) for phrase in self.train.phrases)
        finding = [by_finding.get((phrase.finding,), everything) for phrase in phrases]
        side = [by_side.get((p.finding, p.side), own) for p, own in zip(phrases, finding, strict=True)]
        return found | {
            ANY_PRIOR: np.broadcast_to(everything, (len(phrases), GRID, GRID)),
            FINDING_PRIOR: np.stack(finding),
            SIDE_PRIOR: np.stack(side),
            WORDS_PRIOR: self._from_words([phrase.text for phrase in phrases]),
        }

    @cached_property
    def _boxes(self) -> FloatArray:
        """``[n, GRID, GRID]``: how much of each place the training phrases' boxes cover."""
        pairs = zip(self.train.phrases, self.train.geometries, strict=True)
        return np.stack([coverage(phrase.boxes, geometry) for phrase, geometry in pairs])

    def _means(self, keys: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], FloatArray]:
        """The mean map of the training phrases of each key."""
        rows: dict[tuple[str, ...], list[int]] = {}
        for row, key in enumerate(keys):
            rows.setdefault(key, []).append(row)
        return {key: self._boxes[own].mean(axis=0) for key, own in rows.items()}

    def _from_words(self, texts: Sequence[str]) -> FloatArray:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import RidgeCV

        words = CountVectorizer(binary=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
        known = words.fit_transform([phrase.text for phrase in self.train.phrases]).toarray().astype(np.float64)
        ridge = RidgeCV(alphas=_ALPHAS).fit(known, self._boxes.reshape(len(known), -1))
        guess: FloatArray = ridge.predict(words.transform(texts).toarray().astype(np.float64))
        return guess.reshape(len(texts), GRID, GRID)


def centre_map(width: float) -> FloatArray:
    """``[GRID, GRID]``: a Gaussian at the middle, its standard deviation a share of the side."""
    place = (np.arange(GRID) + 0.5) / GRID - 0.5
    bell = np.exp(-0.5 * (place / width) ** 2)
    result: FloatArray = bell[:, None] * bell[None, :]
    return result


def coverage(boxes: Sequence[Box], geometry: FilmGeometry) -> FloatArray:
    """``[GRID, GRID]``: the share of each place of the film that the fullest of the boxes covers."""
    height, width = geometry.original_height, geometry.original_width
    covered = np.zeros((GRID, GRID))
    for box in boxes:
        down = _covered(box.y_min / height, box.y_max / height)
        across = _covered(box.x_min / width, box.x_max / width)
        covered = np.maximum(covered, down[:, None] * across[None, :])
    return covered


def map_on_film(heat: FloatArray, geometry: FilmGeometry) -> FloatArray:
    """A map over the whole film ``[h, w]`` on its pixels ``[H, W]``, bilinear."""
    sides = zip((geometry.original_height, geometry.original_width), heat.shape, strict=True)
    down, across = (sampling_weights((np.arange(side) + 0.5) * size / side, size) for side, size in sides)
    full: FloatArray = down @ (across @ heat.T).T
    return full


def _covered(start: float, end: float) -> FloatArray:
    """``[GRID]``: the share of each of GRID equal parts of 0..1 that lies between two places."""
    edges = np.arange(GRID + 1) / GRID
    result: FloatArray = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0.0, None) * GRID
    return result
