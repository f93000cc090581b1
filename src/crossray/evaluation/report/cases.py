"""The best and the worst films of each finding: those whose place among the others is most right, and most wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from crossray.data.store import Store
from crossray.evaluation.cohort import Part
from crossray.evaluation.localized.cases import extreme_cases, film_likelihood
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.report.neighbours import labels_of, picture_of
from crossray.evaluation.report.operating import shown_labels
from crossray.evaluation.report.pictures import Picture
from crossray.evaluation.rows import LOG_ODDS
from crossray.evaluation.summary import mid_ranks

_LONGEST = 224  # pixels of a picture's longer side: with some seventy on a page, a film is a few kilobytes


@dataclass(frozen=True)
class CaseFilm:
    """A film that is shown for a finding.

    Attributes:
        rank: why: ``best`` or ``worst`` of the films that have the finding, or of those that do not.
        has_finding: whether it does.
        study_id, picture: which film.
        place: of its score among the scores of all test films, the highest being 1.
        probability: that its score stands for; ``None`` where a score stands for none.
        labels: what is true of it.
    """

    rank: str
    has_finding: bool
    study_id: str
    picture: Picture
    place: int
    probability: float | None
    labels: tuple[str, ...]


@dataclass(frozen=True)
class FindingCases:
    """The films of one finding, which ``positives`` of ``known`` test films have."""

    finding: str
    positives: int
    known: int
    films: tuple[CaseFilm, ...]


def finding_cases(task: str, store: Store, part: Part, scores: FloatArray, protocol: Protocol) -> list[FindingCases]:
    """Of each label that curves are drawn of, up to four films: best and worst, with and without the finding.

    Films of each kind are ranked apart: where a finding is rare, the surest are all without it.

    Args:
        task: decides whether scores are log odds.
        store: where the films are.
        part: the test part that was scored.
        scores: ``[n, K]`` of the protocol's labels. A label that scores alike everywhere, as one without prompts does,
            has no best film and is left out.
        protocol: names the labels.
    """
    return [
        FindingCases(
            finding=protocol.labels[column],
            positives=int((part.labels[:, column] > 0.5).sum()),
            known=int((~np.isnan(part.labels[:, column])).sum()),
            films=tuple(_films(task, store, part, scores, column, protocol)),
        )
        for column in shown_labels(part.labels, protocol)
        if np.ptp(scores[:, column]) > 0
    ]


def _films(
    task: str, store: Store, part: Part, scores: FloatArray, column: int, protocol: Protocol
) -> Iterator[CaseFilm]:
    own, labels = scores[:, column], part.labels[:, column]
    # By places, not by probabilities: these may be 1.0 of many films, and zero-shot scores are none.
    given = film_likelihood(mid_ranks(own[:, None]), labels[:, None])
    for has_finding, among in ((True, labels > 0.5), (False, labels <= 0.5)):
        for case in extreme_cases(np.where(among, given, np.nan)):
            yield CaseFilm(
                rank=case.rank,
                has_finding=has_finding,
                study_id=part.study_ids[case.film],
                picture=picture_of(store, int(part.films[case.film]), longest=_LONGEST),
                place=1 + int((own > own[case.film]).sum()),
                probability=float(expit(own[case.film])) if task in LOG_ODDS else None,
                labels=labels_of(part, case.film, protocol.labels),
            )
