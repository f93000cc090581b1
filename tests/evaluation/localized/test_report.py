"""The HTML report of localized protocols."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from crossray.evaluation.detection.average_precision import mean_average_precision
from crossray.evaluation.detection.boxes import DetectionSet
from crossray.evaluation.localized.cases import chosen_cases, extreme_cases, film_dice, film_likelihood, film_precision
from crossray.evaluation.localized.plan import LocalizedRequest
from crossray.evaluation.localized.suite import run_localized
from crossray.evaluation.report.operating import curves_of
from crossray.evaluation.report.outlines import PREDICTED, TRUE, film_with_boxes, film_with_masks
from crossray.evaluation.segmentation.counts import mask_counts
from tests.evaluation.localized.stores import small_request, twin_store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of RSNA's twin."""
    folder = tmp_path_factory.mktemp("stores")
    twin_store("rsna_pneumonia", folder)
    return folder


def page_of(request: LocalizedRequest) -> str:
    run_localized(request)
    return (request.out / "report.html").read_text(encoding="utf-8")


def test_best_and_worst_films_are_those_of_highest_and_lowest_dice() -> None:
    generator = np.random.default_rng(0)
    truth, called = generator.random((2, 9, 1, 8, 8)) < 0.3
    truth[4] = False
    dice = film_dice(mask_counts(called.astype(float), truth))
    expected = [
        2 * (t & c).sum() / (t.sum() + c.sum()) if t.any() else np.nan for t, c in zip(truth, called, strict=True)
    ]
    np.testing.assert_allclose(dice, expected)
    cases = chosen_cases(dice)
    assert (cases[0].rank, cases[0].film) == ("best", int(np.nanargmax(expected)))
    assert (cases[-1].rank, cases[-1].film) == ("worst", int(np.nanargmin(expected)))
    assert len({case.film for case in cases}) == len(cases) == 6
    assert 4 not in {case.film for case in cases}
    assert chosen_cases(np.full(3, np.nan)) == []
    assert [case.rank for case in chosen_cases(np.array([0.5, np.nan]))] == ["best"]
    assert [case.rank for case in chosen_cases(np.array([0.1, 0.5]))] == ["best", "worst"]
    assert [case.film for case in extreme_cases(dice)] == [cases[0].film, cases[-1].film]
    assert [(case.rank, case.film) for case in extreme_cases(np.array([np.nan, 0.5]))] == [("best", 1)]


def test_a_films_precision_is_that_of_the_film_alone() -> None:
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    found = DetectionSet(3, np.array([0, 2]), np.repeat(box, 2, 0), np.array([0, 1]), np.repeat(box, 2, 0), np.ones(2))
    scores = film_precision([found], 3)
    alone = DetectionSet(1, np.array([0]), box, np.array([0]), box, np.ones(1))
    assert scores[0] == pytest.approx(float(mean_average_precision(alone)[0]))
    assert np.isnan(scores[1])
    assert scores[2] == 0


def test_a_films_likelihood_is_the_mean_probability_of_its_known_labels() -> None:
    probabilities = np.array([[0.9, 0.2, 0.5], [0.1, 0.3, 0.7], [0.4, 0.4, 0.4]])
    labels = np.array([[1, 0, np.nan], [1, 1, 0], [np.nan] * 3])
    np.testing.assert_allclose(film_likelihood(probabilities, labels), [0.85, (0.1 + 0.3 + 0.3) / 3, np.nan])


def test_outlines_have_the_colours_of_the_legend() -> None:
    from crossray.evaluation.report import outlines

    film, mask = np.full((64, 64), 90, np.uint8), np.zeros((64, 64), bool)
    mask[10:30, 10:30] = True
    assert not outlines._edge(np.zeros((64, 64), bool)).any()
    rim = outlines._edge(mask)
    assert rim[71, 100]
    assert not rim[100, 100]
    for uri in (
        film_with_masks(film, mask, ~mask),
        film_with_boxes(film, 64, np.array([[5, 5, 20, 20]]), mask[:0, :4]),
    ):
        assert uri.startswith("data:image/png;base64,")
    assert TRUE != PREDICTED


def test_a_segmentation_report_shows_films_baselines_and_no_script(data: Path) -> None:
    request = small_request("rsna_seg_linear_100", data, out=data / "segmentation")
    page = page_of(request)
    assert page.startswith("<!doctype html>")
    assert "all-empty" in page
    assert "1.96 s / √runs" in page
    assert re.search(r"<td>[\d.]+ \[[\d.]+\u00a0to\u00a0[\d.]+\] ±\u00a0[\d.]+</td>", page)
    assert ">Dice<" in page or "<!-- Dice -->" in page  # the axis of the validation curve
    assert "Research only, not for diagnosis." in page
    assert 'aria-label="rsna_seg_linear_100: validation by epoch"' in page
    scores = [float(found) for found in re.findall(r"<figcaption>\w+: Dice of this film ([\d.]+)", page)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == page.count("data:image/png;base64,") >= 1
    assert "<script" not in page
    assert not re.search(r'(src|href)="https?:', page)
    other = replace(request, report=False, out=data / "without", cells=request.out / "cells")
    run_localized(other)
    assert not (other.out / "report.html").exists()
    for path in (request.out / "cells").rglob("run-*.npz"):
        with np.load(path) as cell:
            assert {"case_films", "case_masks"} <= set(cell.files)


def test_a_detection_report_shows_the_curve_and_the_boxes(data: Path) -> None:
    page = page_of(small_request("rsna_frozen_100", data, seeds=1, out=data / "detection"))
    assert 'aria-label="rsna_frozen_100: FROC"' in page
    assert 'aria-label="rsna_frozen_100: precision and recall of boxes"' in page
    assert re.search(r"Lung Opacity</th><td>(best F1 of boxes on validation</td><td>0|none: no box)", page)
    assert "mAP of this film" in page
    assert page.count("data:image/png;base64,") >= 1


def test_a_classification_report_has_one_curve_a_label_with_scikit_learns_area(data: Path) -> None:
    page = page_of(small_request("prior_rsna_classification", data, seeds=1, out=data / "classification"))
    assert 'aria-label="prior_rsna_classification: operating curves"' in page
    assert len(re.findall(r"\(n⁺ \d+, AUROC 0\.\d{3}|\(n⁺ \d+, AUROC 1\.000", page)) == 1
    scores_shown = [
        float(found) for found in re.findall(r"<figcaption>\w+: probability of what is true ([\d.]+)", page)
    ]
    assert scores_shown == sorted(scores_shown, reverse=True)
    assert len(scores_shown) == page.count("data:image/png;base64,") == 4
    assert re.search(r"study \S+: (Lung Opacity|none of the labels)</figcaption>", page)
    assert "outlines in orange" not in page
    assert re.search(r"Youden on validation</td><td>\d\.\d{3}</td><td>[\d.]+ \[|none: validation has one", page)
    generator = np.random.default_rng(1)
    truth = generator.random(80) < 0.4
    scores = truth + generator.normal(size=80)
    roc = curves_of("Opacity", "", truth, scores, scores).roc
    assert np.trapezoid(roc[:, 1], roc[:, 0]) == pytest.approx(roc_auc_score(truth, scores))
