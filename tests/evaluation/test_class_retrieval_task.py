"""Retrieval by class and in pools as tasks of an evaluation: cells and rows against sums by hand, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossray.data.class_list import class_list
from crossray.data.split_files import read_split, write_split
from crossray.data.splits import Fold, SplitList
from crossray.data.store import Store
from crossray.data.text import SelectedText, TextConfig
from crossray.errors import ConfigError, DataError
from crossray.evaluation.class_retrieval import ClassRetrievalConfig
from crossray.evaluation.class_retrieval_task import (
    CLASS_DIRECTIONS,
    ListedStudies,
    class_retrieval_rows,
    class_retrieval_task,
    listed_studies,
)
from crossray.evaluation.cohort import Part, build_cohort
from crossray.evaluation.comparison.entries import read_entries, source_of
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.intervals import bootstrap_weights
from crossray.evaluation.protocol import EvaluationConfig, Protocol
from crossray.evaluation.results import Results
from crossray.evaluation.retrieval import IntArray
from crossray.evaluation.retrieval_task import fold_ranks, fused_gallery, ranked
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.suite import ensemble_folds, open_evaluation
from crossray.settings import build_settings

OURS, FLOOR = Evaluated("ours"), Evaluated("floor", kind="floor")
CLASSES: IntArray = np.array([0, 0, 0, 1, 1, 1, 1], dtype=np.int64)
CONFIG = ClassRetrievalConfig(classes=("Edema", "Cardiomegaly"), per_class=3, places=(1, 2, 5))
PROTOCOL = Protocol(id="two", class_retrieval=CONFIG, draws=40)


def part_of(pairs: int) -> Part:
    """Pairs of patients who come twice, each with a text of its own."""
    return Part(
        study_ids=tuple(f"s{row}" for row in range(pairs)),
        patient_ids=tuple(f"p{row // 2}" for row in range(pairs)),
        studies=np.arange(pairs),
        films=np.arange(pairs),
        texts=tuple(SelectedText(str(row), ()) for row in range(pairs)),
        text_groups=np.arange(pairs),
        labels=np.zeros((pairs, 0)),
    )


def listed(classes: IntArray = CLASSES) -> ListedStudies:
    return ListedStudies(np.arange(len(classes)), part_of(len(classes)), classes, "two classes")


def test_a_cell_has_the_share_of_the_first_k_in_both_directions() -> None:
    scores = np.random.default_rng(0).normal(size=(7, 7))
    cell = class_retrieval_task(fused_gallery(scores), listed(), CONFIG, "expected")
    assert cell["places"].tolist() == [1, 2], "the smaller class has three studies"
    for way, matrix in (("image_to_text", scores), ("text_to_image", scores.T)):
        for query in range(7):
            right = CLASSES[np.argsort(-matrix[query])] == CLASSES[query]
            assert cell[f"{way}:P"][query].tolist() == [right[0], right[:2].mean()]
            assert cell[f"{way}:Hit"][query].tolist() == [right[0], right[:2].any()]


def test_rows_are_means_over_queries_with_intervals_over_patients() -> None:
    scores = np.random.default_rng(1).normal(size=(7, 7))
    cells = {
        OURS: [("0", class_retrieval_task(fused_gallery(scores), listed(), CONFIG, "expected"))],
        FLOOR: [("0", class_retrieval_task(fused_gallery(scores.T), listed(), CONFIG, "expected"))],
    }
    rows = class_retrieval_rows(cells, [(OURS, FLOOR)], PROTOCOL)
    found = {(row.model, row.metric, row.target): row for row in rows}
    title = CLASS_DIRECTIONS["image_to_text"]
    weights = bootstrap_weights(part_of(7).patient_ids, draws=40, seed=0, stratum="0")
    values = cells[OURS][0][1]["image_to_text:P"][:, 1]
    ours = found["ours", "P@2", title]
    assert ours.value == pytest.approx(values.mean())
    assert ours.n == 7
    draws = (weights * values).sum(axis=1) / weights.sum(axis=1)
    assert [ours.low, ours.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]).tolist())
    edema = found["ours", "P@2", f"{title}: Edema"]
    assert edema.value == pytest.approx(values[:3].mean())
    assert edema.n == 3
    # A query of class c meets n_c of 7 candidates of its own class.
    assert found["chance", "P@2", title].value == pytest.approx((3 * 3 + 4 * 4) / 49)
    difference = found["ours − floor", "P@2", title]
    floor = found["floor", "P@2", title].value
    assert floor is not None
    assert difference.value == pytest.approx(values.mean() - floor)
    assert difference.kind == "difference"


def test_queries_of_several_folds_count_alike_and_a_place_that_one_lacks_is_left_out() -> None:
    config = CONFIG.model_copy(update={"places": (1, 3)})
    larger, smaller = listed(), listed(np.array([0, 0, 1, 1], dtype=np.int64))
    cells = [
        (name, class_retrieval_task(fused_gallery(np.eye(len(own.rows))), own, config, "expected"))
        for name, own in (("0", larger), ("1", smaller))
    ]
    rows = class_retrieval_rows({OURS: cells}, [], Protocol(id="two", class_retrieval=config, draws=10))
    assert {row.metric for row in rows} == {"P@1", "Hit@1"}
    own = [row for row in rows if row.kind == "model" and row.metric == "P@1"]
    assert [row.n for row in own] == [11, 11, 5, 5, 6, 6]
    assert {row.value for row in own} == {1.0}, "every film is nearest to its own report"


def test_ranks_in_pools_are_those_of_each_pool_alone() -> None:
    generator = np.random.default_rng(2)
    global_scores, local_scores = generator.normal(size=(2, 10, 10))
    cell = ranked(fused_gallery(global_scores, local_scores), part_of(10), pools=(4,))
    found = fold_ranks("0", cell)
    for start in (0, 4):
        pool = slice(start, start + 4)
        alone = ranked(fused_gallery(global_scores[pool, pool], local_scores[pool, pool]), part_of(4))
        for field in ("image_to_text", "text_to_image"):
            inside = found[f"{field}@4"]
            assert inside.counts.gallery == 4
            np.testing.assert_array_equal(inside.counts.better[pool], alone[f"{field}:counts"][0])
    assert found["image_to_text@4"].patient_ids == part_of(10).patient_ids[:8], "two are left over"
    assert found["image_to_text"].counts.gallery == 10


def _evaluate(trained: Path, out: Path, *settings: str) -> tuple[Results, list[str]]:
    said: list[str] = []
    request = EvaluationRequest(
        (trained / "runs",),
        out,
        tasks="retrieval,class_retrieval,floors",
        settings=("protocol.draws=20", "ridge.alphas=[100]", "protocol.pools=[8,1000]", *settings),
    )
    return evaluate_runs(request, progress=said.append), said


TWO = (
    "protocol.class_retrieval.classes=[No Finding, Pleural Effusion]",
    "protocol.class_retrieval.per_class=4",
    "protocol.class_retrieval.exclusive=classes",
    "protocol.class_retrieval.places=[1, 2, 5]",
)


@pytest.fixture(scope="module")
def asked(trained: Path) -> Results:
    return _evaluate(trained, trained / "by-class", *TWO)[0]


def test_both_are_tasks_with_floor_difference_chance_and_report(asked: Results, trained: Path) -> None:
    for title in CLASS_DIRECTIONS.values():
        rows = asked.select(task="class_retrieval", metric="P@2", target=title)
        assert [(row.model, row.kind) for row in rows if row.kind != "variant"] == [
            ("chance", "chance"),
            ("pretrained (global_local)", "model"),
            ("ridge to TF-IDF", "floor"),
            ("pretrained (global_local) − ridge to TF-IDF", "difference"),
        ]
        assert {row.n for row in rows} == {16}
        assert rows[0].value == pytest.approx(0.5)
    assert {row.metric for row in asked.select(task="class_retrieval")} == {"P@1", "P@2", "Hit@1", "Hit@2"}
    pools = asked.one(task="retrieval", target="film → report, in pools of 8", metric="R@1", kind="chance")
    assert pools.value == pytest.approx(1 / 8)
    assert pools.n == 32
    assert not asked.select(target="film → report, in pools of 1,000")
    choice = asked.provenance.choices["class retrieval"]
    assert choice.startswith("fold 0: drawn-2x4, 4 test studies for each of No Finding, Pleural Effusion")
    assert choice.count("hash ") == 2
    page = (trained / "by-class" / "report.html").read_text(encoding="utf-8")
    assert "Retrieval by class: film → reports of its class (16 queries)" in page
    assert '<p class="card-title">P@2, film → reports of its class, %</p>' in page
    assert "film → report, in pools of 8" in page


def test_a_list_that_was_written_before_gives_the_same_figures(asked: Results, trained: Path, tmp_path: Path) -> None:
    config = ClassRetrievalConfig(classes=("No Finding", "Pleural Effusion"), per_class=4, exclusive="classes")
    drawn = class_list(Store.open(trained / "store"), read_split(trained / "split.json"), config)
    write_split(drawn, tmp_path / "list.json")
    again, _ = _evaluate(trained, tmp_path / "out", *TWO, f"protocol.class_retrieval.file={tmp_path / 'list.json'}")
    assert again.select(task="class_retrieval") == asked.select(task="class_retrieval")


def test_too_few_studies_leave_the_task_out_and_say_of_which_class(trained: Path, tmp_path: Path) -> None:
    settings = (*TWO[:1], "protocol.class_retrieval.per_class=9", *TWO[2:])
    results, said = _evaluate(trained, tmp_path, *settings)
    assert {row.task for row in results.rows} == {"retrieval"}
    assert any("fold 0: class_retrieval is skipped, the test side of fold '0'" in line for line in said)
    assert any("No Finding 5, Pleural Effusion 11; 9 of each are asked for" in line for line in said)
    said = _evaluate(trained, tmp_path)[1]
    assert any("class_retrieval is skipped" in line and "no labels Atelectasis, Cardiom" in line for line in said)


def test_a_study_that_is_not_tested_or_of_no_class_is_named(trained: Path, tmp_path: Path) -> None:
    store, split = Store.open(trained / "store"), read_split(trained / "split.json")
    cohort = build_cohort(store, split.fold("0"), [], ("frontal",), TextConfig())
    for test, message, classes in (
        (("s00", "s20"), "row s20: is not among the tested studies", ("No Finding", "Pleural Effusion")),
        (("s00", "s02"), "row s02: does not show one of Fracture, Pleural Effusion", ("Fracture", "Pleural Effusion")),
    ):
        write_split(SplitList("mine", (Fold("0", (), (), test),)), tmp_path / "mine.json")
        config = ClassRetrievalConfig(classes=classes, file=str(tmp_path / "mine.json"))
        with pytest.raises(DataError, match=message):
            listed_studies(store, split, cohort, config, ("frontal",))


def test_results_of_different_lists_are_not_compared(asked: Results, trained: Path, tmp_path: Path) -> None:
    assert asked.provenance.choices["class retrieval"]
    _evaluate(trained, tmp_path / "other", *TWO, "protocol.class_retrieval.seed=1")
    sources = [source_of(f"one={trained / 'by-class'}"), source_of(f"other={tmp_path / 'other'}")]
    with pytest.raises(ConfigError, match=r"the list of retrieval by class .*seed 0.* and .*seed 1"):
        read_entries(sources)


def test_an_ensemble_of_one_ranks_by_class_as_its_member_does(trained: Path, tmp_path: Path) -> None:
    changes = {
        "class_retrieval": {"classes": ["No Finding", "Pleural Effusion"], "per_class": 4, "exclusive": "classes"}
    }
    config = build_settings(EvaluationConfig, {"tasks": ["class_retrieval"]})
    member = open_evaluation([trained / "runs"], config, protocol_changes=changes)
    fold, alone = ensemble_folds([member], tmp_path)[0], member.folds(tmp_path)[0]
    ours, theirs = fold.class_retrieval()[fold.pretrained], alone.class_retrieval()[alone.pretrained]
    for way in CLASS_DIRECTIONS:
        np.testing.assert_array_equal(ours[f"{way}:P"], theirs[f"{way}:P"])
    assert len(fold.class_retrieval()) == 1, "no floor was asked for, and an ensemble has no parts"
