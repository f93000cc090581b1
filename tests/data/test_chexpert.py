"""CheXpert's marks: numeric check 12 of the `global_local` spec, the part on its label file."""

from __future__ import annotations

import pytest

from crossray.data.chexpert import COMPETITION_LABELS, competition_labels
from crossray.errors import StudyError


def test_check_12_a_row_of_doubts_counts_by_its_class() -> None:
    row = dict.fromkeys(COMPETITION_LABELS, -1.0)
    assert tuple(competition_labels(row).values()) == (1.0, 0.0, 0.0, 1.0, 1.0)


def test_blank_is_absent_and_plain_marks_stay() -> None:
    row = {"Atelectasis": None, "Cardiomegaly": 1.0, "Consolidation": 0.0, "Edema": float("nan"), "Fracture": 1.0}
    labels = competition_labels(row | {"Pleural Effusion": 1.0})
    assert labels == dict(zip(COMPETITION_LABELS, (0.0, 1.0, 0.0, 0.0, 1.0), strict=True))


@pytest.mark.parametrize("mark", [2.0, -0.5])
def test_another_mark_is_refused_with_its_class(mark: float) -> None:
    with pytest.raises(StudyError, match=r"'Edema'.*no CheXpert mark"):
        competition_labels(dict.fromkeys(COMPETITION_LABELS, 0.0) | {"Edema": mark})


def test_a_missing_class_is_named() -> None:
    with pytest.raises(StudyError, match="'Edema'"):
        competition_labels({label: 0.0 for label in COMPETITION_LABELS if label != "Edema"})
