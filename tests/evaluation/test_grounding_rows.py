"""Rows of grounding: means over phrases and over findings, intervals by patient, paired differences, exact chance."""

from __future__ import annotations

import numpy as np
import pytest

from crossray.evaluation.grounding import CNR, MASS, MIOU, OFF_FILM, POINTING, SIGNED_CNR
from crossray.evaluation.grounding_floors import CENTRE, WORDS_PRIOR
from crossray.evaluation.grounding_rows import (
    ALL_PHRASES,
    MEAN_OF_FINDINGS,
    MISSED_BLIND,
    FoldPhrases,
    fold_phrases,
    grounding_rows,
)
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.results import Row
from crossray.evaluation.rows import Evaluated

PROTOCOL = Protocol(id="toy", draws=200)
OURS, FLOOR = Evaluated("ours"), Evaluated("floor", kind="floor")
FINDINGS = ("Edema", "Edema", "Edema", "Nodule")
PATIENTS = ("p0", "p0", "p1", "p2")
AREA = np.array([0.1, 0.2, 0.3, 0.4])


def scored(pointing: list[float], cnr: list[float], **more: FloatArray) -> FoldPhrases:
    flat = np.ones(4)
    values = {POINTING: np.array(pointing), CNR: np.array(cnr), SIGNED_CNR: np.array(cnr), MASS: flat, MIOU: flat}
    return FoldPhrases("0", PATIENTS, FINDINGS, AREA, {**values, **more})


def table() -> list[Row]:
    ours = scored([1, 1, 0, 1], [1.0, np.nan, 0.4, 0.2], **{OFF_FILM: np.zeros(4)})
    floor = scored([0, 1, 0, 0], [0.5, 0.5, 0.5, 0.5])
    return grounding_rows({OURS: [ours], FLOOR: [floor]}, [(OURS, FLOOR)], PROTOCOL)


def one(**conditions: str) -> Row:
    (row,) = [row for row in table() if all(getattr(row, key) == value for key, value in conditions.items())]
    return row


def test_means_over_phrases_findings_and_each_finding() -> None:
    of = {row.target: row.value for row in table() if (row.model, row.metric) == ("ours", POINTING)}
    assert of == {
        ALL_PHRASES: pytest.approx(3 / 4),
        MEAN_OF_FINDINGS: pytest.approx((2 / 3 + 1) / 2),
        "Edema": pytest.approx(2 / 3),
        "Nodule": 1.0,
    }
    counts = {row.target: row.n for row in table() if (row.model, row.metric) == ("ours", POINTING)}
    assert counts == {ALL_PHRASES: 4, MEAN_OF_FINDINGS: None, "Edema": 3, "Nodule": 1}


def test_phrases_that_every_blind_map_misses_have_a_line() -> None:
    words, centre = Evaluated(WORDS_PRIOR, kind="floor"), Evaluated(CENTRE, kind="floor")
    predictions = {
        OURS: [scored([1, 1, 0, 1], [1, 1, 0, 1])],
        words: [scored([0, 0, 0, 1], [0, 1, 0, 1])],
        centre: [scored([0, 1, 0, 0], [0, 1, 0, 1])],
    }
    found = {
        row.model: row
        for row in grounding_rows(predictions, [], PROTOCOL)
        if (row.metric, row.target) == (POINTING, MISSED_BLIND)
    }
    assert (found["ours"].value, found["ours"].n) == (0.5, 2)
    assert found[WORDS_PRIOR].value == 0
    assert found["chance"].value == pytest.approx((0.1 + 0.3) / 2)
    nothing_missed = {OURS: predictions[OURS], words: [scored([1, 1, 1, 1], [1, 1, 1, 1])]}
    assert MISSED_BLIND not in {row.target for row in grounding_rows(nothing_missed, [], PROTOCOL)}


def test_an_undefined_contrast_is_left_out_of_the_means() -> None:
    assert one(model="ours", metric=CNR, target=ALL_PHRASES).value == pytest.approx((1.0 + 0.4 + 0.2) / 3)
    assert one(model="ours", metric=CNR, target="Edema").value == pytest.approx(0.7)


def test_chance_is_the_boxes_share_of_the_film() -> None:
    assert one(model="chance", metric=POINTING, target=ALL_PHRASES).value == pytest.approx(0.25)
    assert one(model="chance", metric=POINTING, target=MEAN_OF_FINDINGS).value == pytest.approx((0.2 + 0.4) / 2)
    assert one(model="chance", metric=CNR, target="Edema").value == 0
    assert one(model="chance", metric=MASS, target="Edema").value == 1


def test_differences_are_paired() -> None:
    row = one(model="ours − floor", metric=POINTING, target=ALL_PHRASES)
    assert row.value == pytest.approx(0.5)
    assert row.low is not None
    assert row.low >= 0, "no phrase is worse, so no draw is"
    assert not [row for row in table() if row.model == "ours − floor" and row.metric == OFF_FILM]


def test_intervals_draw_patients_not_phrases() -> None:
    # All phrases belong to one patient: every draw is the whole table, the interval has no width.
    together = FoldPhrases("0", ("p",) * 4, FINDINGS, AREA, scored([1, 1, 0, 1], [0, 0, 0, 0]).values)
    rows = grounding_rows({OURS: [together]}, [], PROTOCOL)
    (row,) = [row for row in rows if (row.model, row.metric, row.target) == ("ours", POINTING, ALL_PHRASES)]
    assert (row.low, row.value, row.high) == (0.75, 0.75, 0.75)


def test_phrases_of_a_study_without_a_patient_stay_together() -> None:
    cell = {
        "study_ids": np.array(["s1", "s1", "s2", "p3"]),
        "patient_ids": np.array(["", "", "p3", ""]),
        "findings": np.array(FINDINGS),
        "area": AREA,
        POINTING: np.ones(4),
    }
    found = fold_phrases("0", cell)
    assert found.patients == ("study:s1", "study:s1", "patient:p3", "study:p3")
    assert list(found.values) == [POINTING]
