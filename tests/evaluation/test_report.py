"""Parts of the report: heat maps land where they belong, phrases are found, figures read damaged logs."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from crossray.data.augment import ImageInputConfig
from crossray.data.geometry import CropWindow, prepare_film
from crossray.data.split_files import read_split
from crossray.data.store import Store
from crossray.data.study import Box
from crossray.data.text import TextConfig
from crossray.evaluation.cohort import build_cohort
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.report.cases import finding_cases
from crossray.evaluation.report.figures import learning_curves, operating_curves, read_curves
from crossray.evaluation.report.grounding import find_words, grounded_films
from crossray.evaluation.report.operating import label_curves
from crossray.evaluation.report.pictures import film_picture, heat_on_content, heat_picture
from crossray.evaluation.results import Results
from crossray.evaluation.rows import Evaluated, classification_rows
from crossray.evaluation.summary import FoldScores
from crossray.inference.joint_model import JointModel
from crossray.methods.convirt import ConVirtConfig

from ..small_model import small_method, small_tokenizer


def test_a_picture_has_the_films_true_shape_and_boxes_in_per_cent() -> None:
    prepared, geometry = prepare_film(np.full((50, 100), 90, np.uint8), 40)
    picture = film_picture(prepared, geometry, [Box("x", 25.0, 0.0, 75.0, 25.0)])
    assert (picture.width, picture.height) == (40, 20)
    box = picture.boxes[0]
    assert (box.left, box.top, box.width, box.height) == (25.0, 0.0, 50.0, 50.0)
    decoded = Image.open(io.BytesIO(base64.b64decode(picture.uri.split(",")[1])))
    assert decoded.size == (40, 20)


def test_a_picture_may_be_smaller_than_its_film() -> None:
    prepared, geometry = prepare_film(np.full((50, 100), 90, np.uint8), 40)
    boxes = [Box("x", 25.0, 0.0, 75.0, 25.0)]
    small, large = (film_picture(prepared, geometry, boxes, longest=longest) for longest in (10, 400))
    assert (small.width, small.height) == (10, 5)
    assert small.boxes == large.boxes
    assert large == film_picture(prepared, geometry, boxes)


def test_heat_lands_on_its_region_through_padding_and_crop() -> None:
    prepared, geometry = prepare_film(np.full((40, 80), 90, np.uint8), 80)
    heat = np.zeros((4, 4))
    heat[1, 3] = 1.0
    # The model saw the window from (8, 8) to (72, 72); film rows are 20..60 of the square.
    window = CropWindow(8.0, 8.0, 64.0)
    full = heat_on_content(heat, geometry, window)
    row, column = np.unravel_index(np.argmax(full), full.shape)
    assert abs(row + 20 - (8 + 1.5 * 16)) <= 8
    assert abs(column - (8 + 3.5 * 16)) <= 8
    shown = heat_picture(prepared, geometry, heat, window)
    assert (shown.width, shown.height) == (80, 40)


def test_phrases_are_found_whatever_their_case() -> None:
    words = ["There", "is", "a", "Small", "left", "effusion", "."]
    assert find_words(words, ["small", "Left", "effusion"]) == (3, 4, 5)
    assert find_words(words, ["right"]) is None
    assert find_words(words, []) is None


def test_curves_survive_a_line_cut_short_and_an_empty_log(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_text(
        '{"kind": "train", "step": 1, "epoch": 1, "loss": 3.0}\n'
        '{"kind": "validation", "step": 2, "epoch": 1, "loss": 2.5, "recall_mean": 0.1}\n'
        '{"kind": "train", "step": 3, "epo'
    )
    curves = read_curves("0", log)
    assert curves.train["loss"] == [(0.5, 3.0)]
    drawing = learning_curves([curves, read_curves("1", tmp_path / "absent.jsonl")])
    assert drawing.startswith("<svg")
    assert "var(--series-1)" in drawing


def test_a_method_without_word_attention_is_shown_by_its_maps_of_phrases(trained: Path) -> None:
    store = Store.open(trained / "store")
    fold = read_split(trained / "split.json").fold("0")
    part = build_cohort(store, fold, ["Pleural Effusion"], ("frontal",), TextConfig()).test
    model = JointModel(small_method(ConVirtConfig()), small_tokenizer(), ImageInputConfig(size=40), TextConfig())
    films = grounded_films(model, store, part, np.arange(len(part)), 2)
    assert [film.study_id for film in films] == ["s00", "s01"]
    shown = films[0].maps[0]
    assert shown.phrase == "small left pleural effusion"
    assert shown.area == pytest.approx(12 * 12 / (40 * 32))
    assert shown.inside is not None
    assert 0 <= shown.inside <= 1
    assert shown.inside != pytest.approx(shown.area)


def _fold(seed: int, name: str = "0") -> FoldScores:
    generator = np.random.default_rng(seed)
    labels = (generator.random((300, 3)) < [0.4, 0.1, 0.0]).astype(float)
    scores = 2 * labels - 1 + generator.normal(size=(300, 3))
    labels[:20, 0] = np.nan
    return FoldScores(name, tuple(map(str, range(300))), scores, labels)


def test_curves_enclose_scikit_learns_areas_and_skip_labels_of_one_class() -> None:
    protocol, ours = Protocol(id="toy", labels=("Edema", "Mass", "Hernia"), draws=20), Evaluated("pretrained (clip)")
    fold = _fold(0)
    provenance = SimpleNamespace(select=lambda **_: [])
    found = label_curves("probe", ours, [fold], protocol, cast(Results, provenance))
    assert [curve.label for curve in found] == ["Edema", "Mass"]
    for column, curve in enumerate(found):
        known = ~np.isnan(fold.labels[:, column])
        truth, scores = fold.labels[known, column], fold.scores[known, column]
        assert np.trapezoid(curve.roc[:, 1], curve.roc[:, 0]) == pytest.approx(roc_auc_score(truth, scores), abs=2e-3)
        assert len(curve.roc) <= 200
        assert curve.prevalence == pytest.approx(truth.mean())
        assert curve.precision_recall[0, 0] == 1.0
        assert curve.note == f"n⁺ {int(truth.sum())}"
        assert curve.reliable is not None
        assert curve.reliable.count.sum() == known.sum()
    drawing = operating_curves(found, "Linear probe: operating curves")
    assert drawing.count("Edema (n⁺") == 1
    assert "Reliability" in drawing
    assert "ECE" in drawing
    zero_shot = label_curves("zero_shot", ours, [fold], protocol, cast(Results, provenance))
    assert all(curve.reliable is None for curve in zero_shot)
    assert "Reliability" not in operating_curves(zero_shot, "Zero-shot: operating curves")


def test_the_films_shown_for_a_finding_are_the_best_and_the_worst_with_and_without_it(trained: Path) -> None:
    labels = ("No Finding", "Pleural Effusion", "Fracture")
    store, protocol = Store.open(trained / "store"), Protocol(id="toy", labels=labels)
    fold = read_split(trained / "split.json").fold("0")
    part = build_cohort(store, fold, labels, ("frontal",), TextConfig()).test  # s00 to s15, every third without
    part.labels[7, 1] = np.nan
    effusion = np.arange(16.0)
    effusion[[0, 1, 2, 5]] = [-3, 40, 40, 3]  # s00 has it and is lowest; s01 has it and is highest, as s02 that has not
    effusion[7] = 99  # unknown
    scores = np.stack([np.zeros(16), effusion, np.zeros(16)], axis=1)
    (found,) = finding_cases("probe", store, part, scores, protocol)
    assert (found.finding, found.positives, found.known) == ("Pleural Effusion", 10, 15)
    shown = [(case.has_finding, case.rank, case.study_id, case.place) for case in found.films]
    assert shown == [(True, "best", "s01", 2), (True, "worst", "s00", 16), (False, "best", "s05", 14),
                     (False, "worst", "s02", 2)]  # fmt: skip
    assert [case.labels for case in found.films] == [("Pleural Effusion",)] * 2 + [("No Finding",)] * 2
    assert found.films[1].probability == pytest.approx(1 / (1 + np.exp(3)))
    assert found.films[0].picture == film_picture(store.pixels([1])[0], store.film(1).geometry)
    asked = finding_cases("zero_shot", store, part, scores, protocol)
    assert [case.probability for case in asked[0].films] == [None] * 4


def test_a_finding_that_one_film_has_shows_that_film_once(trained: Path) -> None:
    store, protocol = Store.open(trained / "store"), Protocol(id="toy", labels=("Fracture",))
    fold = read_split(trained / "split.json").fold("0")
    part = build_cohort(store, fold, ("Fracture",), ("frontal",), TextConfig()).test
    part.labels[4] = 1
    (found,) = finding_cases("probe", store, part, np.arange(16.0)[:, None], protocol)
    assert [case.study_id for case in found.films] == ["s04", "s00", "s15"]
    assert [case.rank for case in found.films] == ["best", "best", "worst"]


@pytest.mark.filterwarnings("ignore:Hernia")
def test_folds_are_ranked_together_by_their_places_inside_the_fold() -> None:
    protocol, ours = Protocol(id="toy", labels=("Edema", "Mass", "Hernia"), draws=20), Evaluated("pretrained (clip)")
    one, other = _fold(0), _fold(1, "1")
    shifted = replace(other, scores=10 + 5 * other.scores)  # another model's scale
    nothing = cast(Results, SimpleNamespace(select=lambda **_: []))
    both = [label_curves("zero_shot", ours, [one, fold], protocol, nothing) for fold in (other, shifted)]
    np.testing.assert_array_equal(both[0][0].roc, both[1][0].roc)
    table = classification_rows("zero_shot", {ours: [one, other]}, [], protocol)
    rows = cast(Any, Results).model_construct(rows=tuple(table))
    curve = label_curves("zero_shot", ours, [one, other], protocol, rows)[0]
    enclosed = np.trapezoid(curve.roc[:, 1], curve.roc[:, 0])
    said = float(curve.note.split("AUROC ")[1].split()[0])
    mean_of_folds = rows.one(metric="AUROC", target="Edema", kind="model").value
    assert said == pytest.approx(enclosed, abs=2e-3)
    assert said == pytest.approx(rows.one(metric="AUROC, pooled", target="Edema").value, abs=5e-4)
    assert said != round(mean_of_folds or 0, 3)
