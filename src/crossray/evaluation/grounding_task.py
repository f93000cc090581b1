"""Phrase grounding on one fold: from a model, or from what never looks at the film, to the arrays of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from crossray.data.geometry import CropWindow
from crossray.evaluation.cells import Arrays
from crossray.evaluation.cohort import Part
from crossray.evaluation.grounding import (
    CNR,
    MASS,
    MIOU,
    OFF_FILM,
    POINTING,
    SIGNED_CNR,
    GroundingConfig,
    box_mask,
    film_heat,
    map_scores,
    off_film,
    stretched,
)
from crossray.evaluation.grounding_floors import GroundingFloors, map_on_film
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.models import RunModel
from crossray.evaluation.phrases import KnownPhrases
from crossray.evaluation.retrieval import Ties

#: In the order of the tables.
METRICS = (POINTING, CNR, SIGNED_CNR, MASS, MIOU, OFF_FILM)


@dataclass(frozen=True)
class Judge:
    """Scores maps on the original films of the phrases of one part."""

    part: Part
    known: KnownPhrases
    config: GroundingConfig
    ties: Ties

    def cell(self, maps: Iterable[FloatArray], off: Sequence[float] | None = None) -> Arrays:
        """Scores of maps on the original film (one for each phrase), and what their table needs to know.

        ``maps`` are taken one at a time: a film as acquired has millions of pixels. ``off`` says for each phrase how
        far the map's own maximum lay off the film, where that can be.
        """
        scores, areas = [], []
        for heat, phrase, geometry in zip(maps, self.known.phrases, self.known.geometries, strict=True):
            inside = box_mask(geometry, phrase.boxes)
            scores.append(map_scores(heat, inside, self.config.iou_thresholds, self.ties))
            areas.append(inside.mean())
        rows = [phrase.row for phrase in self.known.phrases]
        cell: Arrays = {
            "study_ids": np.array([self.part.study_ids[row] for row in rows], dtype=str),
            "patient_ids": np.array([self.part.patient_ids[row] or "" for row in rows], dtype=str),
            "findings": np.array([phrase.finding for phrase in self.known.phrases], dtype=str),
            "area": np.array(areas),
            "left_out": np.array(self.known.left_out),
        }
        cell |= {name: np.array([score[name] for score in scores]) for name in METRICS if name != OFF_FILM}
        return cell if off is None else {**cell, OFF_FILM: np.array(off)}


def grounding_task(model: RunModel, judge: Judge, window: CropWindow, *, other_films: bool = False) -> Arrays:
    """The run's maps of the phrases, scored.

    Args:
        window: what the run sees of a prepared film.
        other_films: look for each phrase in another phrase's film instead and score that map as if it were its own
            film's. What remains of the scores is what words alone give: only the rest comes from looking.
    """
    phrases, geometries = judge.known.phrases, judge.known.geometries
    rows = [phrase.row for phrase in phrases]
    looked_at = exchanged(rows) if other_films else rows
    maps = model.phrase_maps(judge.part, looked_at, [phrase.text for phrase in phrases])
    pairs = list(zip(maps, geometries, strict=True))
    return judge.cell(
        (film_heat(heat, geometry, window) for heat, geometry in pairs),
        [off_film(heat, geometry, window) for heat, geometry in pairs],
    )


def exchanged(rows: Sequence[int]) -> list[int]:
    """For each phrase's row another row that has phrases: half of them further on, far from the patient's own."""
    distinct = sorted(set(rows))
    place = {row: index for index, row in enumerate(distinct)}
    return [distinct[(place[row] + max(1, len(distinct) // 2)) % len(distinct)] for row in rows]


def grounding_floor_task(floors: GroundingFloors, judge: Judge) -> dict[str, Arrays]:
    """The floors' maps, scored likewise; by name."""
    found = {}
    for name, maps in floors.maps(judge.known.phrases).items():
        pairs = zip(maps, judge.known.geometries, strict=True)
        found[name] = judge.cell(stretched(map_on_film(heat, geometry)) for heat, geometry in pairs)
    return found
