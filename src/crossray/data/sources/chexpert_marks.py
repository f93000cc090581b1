"""Labels of tables in CheXpert's form: 14 columns of 1 (present), 0 (absent), -1 (uncertain) or blank (not mentioned).

A label is one of three things in a store, so doubt and silence are told apart in the attribute ``uncertain``, which
names the uncertain classes with ``|`` between; a protocol that treats the two otherwise can still do so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from crossray.data.chexpert import COMPETITION_LABELS, competition_labels
from crossray.data.findings import FINDINGS
from crossray.data.sources.cells import BadRowError
from crossray.data.sources.expected import PublishedOptions
from crossray.settings import Settings

UNCERTAIN = "uncertain"

_MARKS: Mapping[str, float | None] = {
    "": None,
    "1": 1.0,
    "1.0": 1.0,
    "0": 0.0,
    "0.0": 0.0,
    "-1": -1.0,
    "-1.0": -1.0,
}


class MarkPolicy(Settings):
    """What doubt and silence count as; the defaults are those of our own labeller.

    Attributes:
        uncertain: ``unknown``, ``present``, ``absent``, or ``competition``: by class, as the reference does
            (`global_local`, section 4.3), for the five classes of the competition, and unknown for the others.
        not_mentioned: ``absent`` or ``unknown``.
    """

    uncertain: Literal["unknown", "present", "absent", "competition"] = "unknown"
    not_mentioned: Literal["absent", "unknown"] = "absent"


class MarkOptions(PublishedOptions):
    """Options of a public set with such labels."""

    marks: MarkPolicy = MarkPolicy()


def marks_of(cells: Mapping[str, str], table: Path, row: int) -> dict[str, float | None]:
    """The marks of the classes that have a column, in the published order; ``None`` is blank.

    Raises:
        BadRowError: a cell holds something else.
    """
    marks: dict[str, float | None] = {}
    for name in FINDINGS:
        if name not in cells:
            continue
        if cells[name] not in _MARKS:
            raise BadRowError(f"{name} is '{cells[name]}', not 1, 0, -1 or blank.", file=table, row=row)
        marks[name] = _MARKS[cells[name]]
    return marks


def labels_of_marks(marks: Mapping[str, float | None], policy: MarkPolicy) -> dict[str, float]:
    """1.0, 0.0 or NaN for each of the 14 classes; NaN for a class that has no column."""
    silent = {"absent": 0.0, "unknown": math.nan}[policy.not_mentioned]
    doubtful = {"present": 1.0, "absent": 0.0}.get(policy.uncertain, math.nan)
    labels = {}
    for name in FINDINGS:
        mark = marks.get(name, math.nan)
        labels[name] = silent if mark is None else doubtful if mark == -1.0 else mark
    if policy.uncertain == "competition" and set(COMPETITION_LABELS) <= marks.keys():
        doubts = competition_labels(marks)
        labels |= {name: doubts[name] for name in COMPETITION_LABELS if marks[name] == -1.0}
    return labels


def uncertain_classes(marks: Mapping[str, float | None]) -> str:
    """The classes marked -1, with ``|`` between."""
    return "|".join(name for name, mark in marks.items() if mark == -1.0)
