"""Phrases of a part: sides by their words, sentences, boxes clipped, and floors that never look at the film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossray.data.geometry import FilmGeometry
from crossray.data.reports import parse_report
from crossray.data.split_files import read_split
from crossray.data.store import Store
from crossray.data.study import Box, Span
from crossray.data.text import TextConfig
from crossray.evaluation.cohort import Cohort, build_cohort
from crossray.evaluation.grounding import GroundingConfig
from crossray.evaluation.grounding_floors import (
    ANY_PRIOR,
    CENTRE,
    FINDING_PRIOR,
    GRID,
    SIDE_PRIOR,
    WORDS_PRIOR,
    GroundingFloors,
    centre_map,
    coverage,
    map_on_film,
)
from crossray.evaluation.grounding_task import exchanged
from crossray.evaluation.phrases import KnownPhrases, Phrase, known_phrases, sentence_of, side_of

FILM = FilmGeometry(96, 48, 96, 48, 96)


def phrase(finding: str, text: str, box: tuple[float, float, float, float]) -> Phrase:
    return Phrase(0, finding, side_of(text), text, (Box(finding, *box),))


TRAIN = (
    phrase("Effusion", "small left effusion", (24.0, 72.0, 48.0, 96.0)),
    phrase("Effusion", "large right effusion", (0.0, 72.0, 24.0, 96.0)),
    phrase("Cardiomegaly", "enlarged heart", (12.0, 48.0, 36.0, 72.0)),
)


def floors() -> GroundingFloors:
    return GroundingFloors(KnownPhrases(TRAIN, (FILM,) * 3, 0), GroundingConfig())


def cohort(trained: Path) -> tuple[Store, Cohort]:
    store = Store.open(trained / "store")
    fold = read_split(trained / "split.json").fold("0")
    return store, build_cohort(store, fold, ["Pleural Effusion"], ("frontal",), TextConfig())


@pytest.mark.parametrize(
    ("words", "side"),
    [
        ("a small left-sided effusion", "left"),
        ("Right apical pneumothorax", "right"),
        ("lingular opacity", "left"),
        ("bibasilar atelectasis", "both"),
        ("effusions on both sides", "both"),
        ("right more than left effusion", "both"),
        ("mild cardiomegaly, bright bones", ""),
    ],
)
def test_the_side_is_read_from_the_words(words: str, side: str) -> None:
    assert side_of(words) == side


def test_a_phrase_may_be_given_with_its_sentence() -> None:
    report = parse_report("FINDINGS: The heart is large. There is a small left effusion today. Bones are normal.")
    start = report.text.index("small left")
    assert sentence_of(report, Span(start, start + 10)) == "There is a small left effusion today."
    over = Span(report.text.index("large"), start + 5)
    assert sentence_of(report, over) == "The heart is large. There is a small left effusion today."
    assert sentence_of(report, Span(0, 8)) == "FINDINGS"


def test_phrases_of_a_part_carry_their_boxes_and_rows(trained: Path) -> None:
    store, folds = cohort(trained)
    known = known_phrases(store, folds.test, GroundingConfig())
    assert len(known) == 11
    assert known.left_out == 0
    first = known.phrases[0]
    assert (first.row, first.finding, first.side, first.text) == (
        0,
        "Pleural Effusion",
        "left",
        "small left pleural effusion",
    )
    assert first.boxes == (Box("Pleural Effusion", 18.0, 26.0, 30.0, 38.0),)
    assert (known.geometries[0].original_height, known.geometries[0].original_width) == (40, 32)
    sentences = known_phrases(store, folds.test, GroundingConfig(text="sentence"))
    assert sentences.phrases[0].text == "There is small left pleural effusion."
    assert len(known_phrases(store, folds.test, GroundingConfig(findings=("Fracture",)))) == 0


def test_priors_are_means_of_the_training_boxes() -> None:
    asked = (TRAIN[0], phrase("Effusion", "effusion", (0, 0, 1, 1)), phrase("Nodule", "nodule", (0, 0, 1, 1)))
    maps = floors().maps(asked)
    boxes = np.stack([coverage(p.boxes, FILM) for p in TRAIN])
    np.testing.assert_allclose(maps[ANY_PRIOR][0], boxes.mean(axis=0))
    np.testing.assert_allclose(maps[FINDING_PRIOR][0], boxes[:2].mean(axis=0))
    np.testing.assert_allclose(maps[SIDE_PRIOR][0], boxes[0])
    np.testing.assert_allclose(maps[SIDE_PRIOR][1], boxes[:2].mean(axis=0), err_msg="no training phrase is of no side")
    np.testing.assert_allclose(maps[SIDE_PRIOR][2], boxes.mean(axis=0), err_msg="a finding that was never trained on")
    assert maps[CENTRE].shape == (3, GRID, GRID)


def test_the_ridge_learns_a_place_from_words() -> None:
    many = KnownPhrases(TRAIN * 20, (FILM,) * 60, 0)
    maps = GroundingFloors(many, GroundingConfig()).maps(TRAIN)[WORDS_PRIOR]
    for own, trained_on in zip(maps, TRAIN, strict=True):
        np.testing.assert_allclose(own, coverage(trained_on.boxes, FILM), atol=0.1)


def test_without_training_phrases_there_is_the_centre_alone() -> None:
    assert list(GroundingFloors(KnownPhrases((), (), 0), GroundingConfig()).maps(TRAIN)) == [CENTRE]


def test_phrases_change_films_without_staying_on_their_own() -> None:
    rows = [0, 0, 3, 4, 7, 7]
    assert exchanged(rows) == [4, 4, 7, 0, 3, 3]
    assert exchanged([2, 2]) == [2, 2], "there is no other film"
    assert exchanged([1, 5, 6]) == [5, 6, 1]


def test_coverage_is_the_share_of_each_place() -> None:
    # Half a place across and all of it down, at the upper left; a film of 96 x 48 has places of 2 x 1 pixels.
    covered = coverage((Box("x", 0.0, 0.0, 0.5, 2.0),), FILM)
    assert covered[0, 0] == pytest.approx(0.5)
    assert covered.sum() == pytest.approx(0.5)
    whole = coverage((Box("x", 0.0, 0.0, 48.0, 96.0),), FILM)
    np.testing.assert_allclose(whole, 1.0)


def test_a_floors_map_lies_over_the_film_itself() -> None:
    full = map_on_film(coverage((Box("x", 24.0, 72.0, 48.0, 96.0),), FILM), FILM)
    assert full.shape == (96, 48)
    assert full[80, 40] == pytest.approx(1.0)
    assert full[80, 10] == pytest.approx(0.0)
    centre = map_on_film(centre_map(0.25), FILM)
    assert abs(np.unravel_index(np.argmax(centre), centre.shape) - np.array([47.5, 23.5])).max() <= 1.5
