"""The CheXpert label file's four marks, and what the reference makes of its doubts.

Spec: `global_local`, section 4.3 (blank is absent; a doubt counts by its class).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from crossray.errors import StudyError

COMPETITION_LABELS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
"""The five classes of the CheXpert competition, in their order."""

_DOUBT_IS_PRESENT = {
    "Atelectasis": True,
    "Cardiomegaly": False,
    "Consolidation": False,
    "Edema": True,
    "Pleural Effusion": True,
}


def competition_labels(row: Mapping[str, float | None]) -> dict[str, float]:
    """The five classes of a CheXpert row as 1.0 or 0.0, in the order of :data:`COMPETITION_LABELS`.

    Args:
        row: class → 1 present, 0 absent, -1 uncertain, ``None`` or NaN blank (not mentioned); other columns are
            not read.

    Raises:
        StudyError: a class has no column, or another mark.
    """
    labels: dict[str, float] = {}
    for label in COMPETITION_LABELS:
        if label not in row:
            raise StudyError("the column is missing.", field=label, remedy="Give the label file as published.")
        mark = row[label]
        if mark is None or math.isnan(mark):
            mark = 0.0
        if mark not in (-1.0, 0.0, 1.0):
            raise StudyError(f"{mark} is no CheXpert mark (1, 0, -1 or blank).", field=label)
        labels[label] = float(_DOUBT_IS_PRESENT[label]) if mark == -1.0 else mark
    return labels
