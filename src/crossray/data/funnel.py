"""The filter funnel: rows in, rows out for each rule, and the reason for everything that was left out."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable

from crossray.data.sources.base import Rejected, Remark
from crossray.settings import Settings

QUARANTINE_COLUMNS = ("what", "study_id", "film_id", "rule", "reason", "file", "row")


class Funnel(Settings):
    """Counts of studies and films in, out, and left out by each rule; remarks on what was kept.

    ``films_in - sum(film_rules) == films_out`` and likewise for studies. Films of a study that its source refused
    whole are not counted: the source may not know them.
    """

    studies_in: int
    studies_out: int
    study_rules: dict[str, int]
    films_in: int
    films_out: int
    film_rules: dict[str, int]
    remarks: dict[str, int]

    def lines(self) -> list[str]:
        """The funnel in words, one line a rule."""
        lines = _stage("studies", self.studies_in, self.study_rules, self.studies_out)
        lines += _stage("films", self.films_in, self.film_rules, self.films_out)
        lines += [f"  remark {rule}: {count}" for rule, count in self.remarks.items()]
        return lines


def count_rules(events: Iterable[Rejected | Remark]) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Events counted by rule: (studies left out, films left out, remarks), each in order of first appearance."""
    studies: Counter[str] = Counter()
    films: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    for event in events:
        if isinstance(event, Remark):
            remarks[event.rule] += 1
        elif event.film_id is None:
            studies[event.rule] += 1
        else:
            films[event.rule] += 1
    return dict(studies), dict(films), dict(remarks)


def quarantine_csv(events: Iterable[Rejected | Remark]) -> str:
    """Everything left out or remarked on, as CSV text with :data:`QUARANTINE_COLUMNS`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(QUARANTINE_COLUMNS)
    for event in events:
        place = ("", "") if isinstance(event, Remark) else (event.file or "", event.row or "")
        writer.writerow([_what(event), event.study_id, event.film_id or "", event.rule, event.reason, *place])
    return buffer.getvalue()


def _what(event: Rejected | Remark) -> str:
    if isinstance(event, Remark):
        return "remark"
    return "study left out" if event.film_id is None else "film left out"


def _stage(name: str, rows_in: int, rules: dict[str, int], rows_out: int) -> list[str]:
    lines = [f"{name} in: {rows_in}"]
    lines += [f"  {rule}: -{count}" for rule, count in rules.items()]
    return [*lines, f"{name} out: {rows_out}"]
