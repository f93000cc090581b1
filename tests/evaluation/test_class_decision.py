"""Zero-shot decisions between classes: rows against scikit-learn, on the studies of a list alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, precision_score, recall_score

from crossray.evaluation.cells import Arrays
from crossray.evaluation.class_decision import CALLS, class_decision_rows
from crossray.evaluation.class_retrieval import ClassRetrievalConfig
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.intervals import bootstrap_weights
from crossray.evaluation.protocol import Protocol
from crossray.evaluation.results import Row
from crossray.evaluation.rows import Evaluated

OURS = Evaluated("ours")
CLASSES = ("Edema", "Cardiomegaly", "Atelectasis")
PROTOCOL = Protocol(
    id="three",
    labels=("Cardiomegaly", "Fracture", "Edema", "Atelectasis"),
    class_retrieval=ClassRetrievalConfig(classes=CLASSES, per_class=4),
    draws=30,
)
COLUMNS = [2, 0, 3]
RAW, STANDARDISED = (f"one of 3, {call}" for call in CALLS)


def scored(seed: int, studies: int = 20) -> Arrays:
    scores = np.random.default_rng(seed).normal(size=(studies, 4)) * [5.0, 1.0, 1.0, 1.0] + [3.0, 0.0, 0.0, 0.0]
    return {
        "study_ids": np.array([f"s{row}" for row in range(studies)]),
        "patient_ids": np.array([f"p{row // 2}" for row in range(studies)]),
        "scores": scores,
    }


def listed(whole: Arrays, rows: list[int], truth: list[int]) -> Arrays:
    return {name: whole[name][rows] for name in ("study_ids", "patient_ids")} | {"classes": np.array(truth)}


def by_metric(rows: list[Row], target: str) -> dict[str, Row]:
    return {row.metric: row for row in rows if row.target == target and row.kind == "model"}


def test_decisions_are_judged_as_scikit_learn_does_over_the_listed_films_of_all_folds() -> None:
    folds = {"0": scored(0), "1": scored(1)}
    rows = {"0": [9, 3, 4, 12, 0, 7], "1": [1, 2, 19, 5, 6, 11, 13]}
    truth = {"0": [0, 1, 2, 2, 1, 0], "1": [0, 0, 1, 1, 2, 2, 0]}
    lists = [(name, listed(folds[name], rows[name], truth[name])) for name in folds]
    found = class_decision_rows({OURS: list(folds.items())}, lists, PROTOCOL)
    called: dict[str, list[int]] = {RAW: [], STANDARDISED: []}
    for name, cell in folds.items():
        own = cell["scores"][rows[name]][:, COLUMNS]
        called[RAW] += own.argmax(axis=1).tolist()
        called[STANDARDISED] += ((own - own.mean(axis=0)) / own.std(axis=0)).argmax(axis=1).tolist()
    right = truth["0"] + truth["1"]
    assert called[RAW] != called[STANDARDISED]
    for target, calls in called.items():
        measures = by_metric(found, target)
        macro = {"average": "macro", "zero_division": 0}
        assert measures["accuracy"].value == pytest.approx(accuracy_score(right, calls))
        assert measures["macro precision"].value == pytest.approx(precision_score(right, calls, **macro))
        assert measures["macro recall"].value == pytest.approx(recall_score(right, calls, **macro))
        assert measures["macro F1"].value == pytest.approx(f1_score(right, calls, **macro))
        assert measures["Cohen's kappa"].value == pytest.approx(cohen_kappa_score(right, calls))
        assert {row.n for row in measures.values()} == {13}
    patients = [[cell["patient_ids"].tolist(), name] for name, cell in lists]
    weights = np.concatenate([bootstrap_weights(ids, draws=30, seed=0, stratum=name) for ids, name in patients], axis=1)
    hits = np.array(called[RAW]) == right
    limits = np.quantile(weights @ hits / weights.sum(axis=1), [0.025, 0.975])
    accuracy = by_metric(found, RAW)["accuracy"]
    assert [accuracy.low, accuracy.high] == pytest.approx(limits.tolist())
    chance = {row.metric: row.value for row in found if row.kind == "chance"}
    assert chance == pytest.approx({"accuracy": 1 / 3, "macro recall": 1 / 3, "Cohen's kappa": 0.0})


def test_a_class_without_a_label_or_without_prompts_leaves_the_decision_out() -> None:
    whole = scored(2)
    lists = [("0", listed(whole, [0, 1, 2], [0, 1, 2]))]
    unknown = PROTOCOL.model_copy(update={"labels": ("Cardiomegaly", "Edema")})
    assert class_decision_rows({OURS: [("0", whole)]}, lists, unknown) == []
    silent = {**whole, "scores": whole["scores"] * [1.0, 1.0, 0.0, 1.0]}  # Edema has no prompts
    assert class_decision_rows({OURS: [("0", silent)]}, lists, PROTOCOL) == []


def test_an_evaluation_that_asks_for_both_tasks_prints_decisions(trained: Path) -> None:
    request = EvaluationRequest(
        (trained / "runs",),
        trained / "decisions",
        tasks="zero_shot,class_retrieval",
        settings=(
            "protocol.draws=20",
            "protocol.class_retrieval.classes=[No Finding, Pleural Effusion]",
            "protocol.class_retrieval.per_class=4",
            "protocol.class_retrieval.exclusive=classes",
            "protocol.class_retrieval.places=[1]",
        ),
    )
    results = evaluate_runs(request)
    rows = results.select(task="class_decision", metric="accuracy", target="one of 2, the highest score")
    assert [row.n for row in rows if row.kind == "model"] == [16]
    assert {row.variant for row in rows if row.kind != "chance"} == {
        row.variant for row in results.select(task="zero_shot", metric="AUROC") if row.kind != "chance"
    }
    page = (trained / "decisions" / "report.html").read_text(encoding="utf-8")
    assert "Zero-shot decision: one of 2, the highest score (16 films)" in page
