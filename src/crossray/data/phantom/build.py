"""A study of the phantom: film, masks, boxes, labels, report and phrase regions of one ``(seed, index)``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from crossray.data.findings import FINDINGS
from crossray.data.phantom.anatomy import sample_anatomy
from crossray.data.phantom.case import Case, sample_case
from crossray.data.phantom.draws import Draws, Stream
from crossray.data.phantom.film import sample_style
from crossray.data.phantom.presets import PRESETS, Difficulty
from crossray.data.phantom.render import FilmPlan, Part, finding_parts, render_film
from crossray.data.phantom.reports import Written, write_report
from crossray.data.reports import parse_report
from crossray.data.study import Box, Film, PhraseRegion, Span, Study

_BLOCK = 8  # studies of a patient lie within one block of indices, so that no study depends on how many are asked for
_FIRST_VISIT = 0.72

_OPACITIES = ("Consolidation", "Atelectasis", "Edema", "Lung Lesion", "Pneumonia")


@dataclass(frozen=True)
class PhantomKey:
    """Names one study of the phantom."""

    difficulty: Difficulty
    seed: int
    index: int
    size: int

    @property
    def study_id(self) -> str:
        """Stable name of the study."""
        return f"phantom-{self.difficulty}-{self.seed}-{self.index:06d}"


@dataclass(frozen=True)
class PhantomPixels:
    """A film that is drawn when it is read."""

    key: PhantomKey

    def read(self) -> NDArray[np.uint8]:
        """The film's pixels, ``[height, width]``."""
        return render_film(plan_film(self.key))


@dataclass(frozen=True)
class PhantomMask:
    """The mask of one class, drawn when it is read: all findings of the class on the film."""

    key: PhantomKey
    label: str

    def read(self) -> NDArray[np.uint8]:
        """255 inside, 0 outside, ``[height, width]``."""
        masks = [part.mask for part in finding_parts(plan_film(self.key), self.label)]
        return np.where(np.logical_or.reduce(masks), 255, 0).astype(np.uint8)


def first_visit(seed: int, index: int) -> int:
    """Index of the first study of the patient that ``index`` is a study of."""
    block, place = divmod(index, _BLOCK)
    draws = Draws(seed, Stream.PATIENTS, block)
    starts = [True, *(draws.chance(_FIRST_VISIT) for _ in range(_BLOCK - 1))]
    return block * _BLOCK + max(start for start in range(place + 1) if starts[start])


def study_case(key: PhantomKey) -> Case:
    """What the film of a study shows; follow-ups are made from the visits before."""
    settings = PRESETS[key.difficulty]
    case: Case | None = None
    for index in range(first_visit(key.seed, key.index), key.index + 1):
        case = sample_case(Draws(key.seed, Stream.CASE, index), settings, case)
    if case is None:
        raise AssertionError("a patient's first visit is never after the study")
    return case


@lru_cache(maxsize=16)
def plan_film(key: PhantomKey) -> FilmPlan:
    """All that the film of a study is drawn from."""
    anatomy = sample_anatomy(Draws(key.seed, Stream.ANATOMY, first_visit(key.seed, key.index)))
    style = sample_style(Draws(key.seed, Stream.FILM, key.index), PRESETS[key.difficulty])
    return FilmPlan(anatomy, study_case(key), style, key.size)


def case_labels(case: Case) -> dict[str, float]:
    """1.0 or 0.0 for each CheXpert class, from what is drawn.

    The classes that stand above others follow from them: Lung Opacity from every opacity, Enlarged
    Cardiomediastinum from Cardiomegaly; No Finding means nothing but Support Devices.
    """
    present = {finding.label for finding in case.findings}
    if any(finding.variant == "pneumonia" for finding in case.findings):
        present.add("Pneumonia")
    if present.intersection(_OPACITIES):
        present.add("Lung Opacity")
    if "Cardiomegaly" in present:
        present.add("Enlarged Cardiomediastinum")
    if not present - {"Support Devices"}:
        present.add("No Finding")
    return {name: float(name in present) for name in FINDINGS}


def build_study(key: PhantomKey) -> Study:
    """The study of a key; cuts masks for its boxes, draws no pixels."""
    plan = plan_film(key)
    labels = case_labels(plan.case)
    written = write_report(plan.case, labels, PRESETS[key.difficulty], Draws(key.seed, Stream.TEXT, key.index))
    # On a small film the faintest findings cover no pixel: these are reported, but have no box.
    boxes = [(part, _box(part)) for part in finding_parts(plan) if part.mask.any()]
    masks = {label: PhantomMask(key, label) for label in sorted({part.finding.label for part, _ in boxes})}
    frame = plan.frame
    film = Film(
        film_id=f"{key.study_id}-frontal",
        view="frontal",
        pixels=PhantomPixels(key),
        original_height=frame.height,
        original_width=frame.width,
        boxes=tuple(box for _, box in boxes),
        masks=masks,
    )
    return Study(
        study_id=key.study_id,
        patient_id=f"phantom-{key.difficulty}-{key.seed}-p{first_visit(key.seed, key.index):06d}",
        films=(film,),
        report=parse_report(written.text),
        labels=labels,
        phrase_regions=_regions(plan.case, written, film.film_id, boxes),
    )


def _regions(case: Case, written: Written, film_id: str, boxes: list[tuple[Part, Box]]) -> tuple[PhraseRegion, ...]:
    return tuple(
        PhraseRegion(
            film_id=film_id,
            label=mention.label,
            span=Span(mention.start, mention.end),
            boxes=tuple(box for part, box in boxes if part.finding is case.findings[mention.finding]),
        )
        for mention in written.mentions
    )


def _box(part: Part) -> Box:
    rows, columns = np.flatnonzero(part.mask.any(axis=1)), np.flatnonzero(part.mask.any(axis=0))
    return Box(part.finding.label, float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
