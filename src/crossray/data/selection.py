"""Which studies and films of a source go into a store: rules that need no pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from crossray.data.sources.base import Rejected, Remark, Source
from crossray.data.study import SectionName, Study, View
from crossray.data.text import TextConfig, select_text

#: Sections that describe the film; what stands under no heading counts, for many reports have none.
_DESCRIPTION = TextConfig(sections=("findings", "impression", "other"), fallback="empty")
_ANY_SECTION = TextConfig(sections=get_args(SectionName), fallback="empty")


@dataclass
class Selection:
    """What a source offers and what is left of it; events tell of the rest."""

    studies: list[Study] = field(default_factory=list)
    events: list[Rejected | Remark] = field(default_factory=list)
    studies_in: int = 0
    films_in: int = 0
    film_rules: Counter[str] = field(default_factory=Counter)


def select_studies(source: Source, views: Sequence[View]) -> Selection:
    """Go through a source once and keep the studies with a report and a film of the wanted views.

    Rules, in order: whatever the source itself refuses; for studies ``duplicate_study_id``, where the source has
    reports ``empty_report`` and ``no_findings_or_impression``, ``no_film``, ``view_unknown``,
    ``no_film_of_wanted_view``; for films ``view_not_wanted`` and ``of_a_study_left_out``. Films of a view that was not
    asked for are counted, not listed.
    """
    selection = Selection()
    seen: set[str] = set()
    for item in source.studies():
        if isinstance(item, Study):
            selection.studies_in += 1
            selection.films_in += len(item.films)
            _take(item, views, seen, source.has_reports, selection)
            continue
        selection.events.append(item)
        if isinstance(item, Rejected):
            selection.studies_in += item.film_id is None
            selection.films_in += item.film_id is not None
    return selection


def _take(study: Study, views: Sequence[View], seen: set[str], has_reports: bool, selection: Selection) -> None:
    problem = _problem(study, views, seen, has_reports)
    seen.add(study.study_id)
    if problem is not None:
        selection.events.append(problem)
        selection.film_rules["of_a_study_left_out"] += len(study.films)
        return
    kept = tuple(film for film in study.films if film.view in views)
    selection.film_rules["view_not_wanted"] += len(study.films) - len(kept)
    selection.studies.append(replace(study, films=kept))


def _problem(study: Study, views: Sequence[View], seen: set[str], has_reports: bool) -> Rejected | None:
    if study.study_id in seen:
        return Rejected(study.study_id, "duplicate_study_id", "a study of this id came before; the first one is kept.")
    if has_reports and (problem := _problem_of_report(study)) is not None:
        return problem
    if any(film.view in views for film in study.films):
        return None
    found = Counter(film.view for film in study.films)
    if not found:
        return Rejected(study.study_id, "no_film", "the source has no film of it.")
    if set(found) == {"unknown"}:
        reason = "the view of none of its films is known; say which are frontal, or ask for --views unknown."
        return Rejected(study.study_id, "view_unknown", reason)
    listed = ", ".join(f"{count} {view}" for view, count in found.items())
    reason = f"it has {listed}; wanted: {', '.join(views)}."
    return Rejected(study.study_id, "no_film_of_wanted_view", reason)


def _problem_of_report(study: Study) -> Rejected | None:
    if not select_text(study.report, _ANY_SECTION).text:
        return Rejected(study.study_id, "empty_report", "the report holds no words (de-identification marks apart).")
    if not select_text(study.report, _DESCRIPTION).text:
        reason = "the report has neither findings nor impression, nor text outside of headings."
        return Rejected(study.study_id, "no_findings_or_impression", reason)
    return None
