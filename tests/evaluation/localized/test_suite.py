"""Whole protocols on a small twin: from a store to a table."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from crossray.errors import ConfigError, DataError
from crossray.evaluation.localized import map_shelf, session
from crossray.evaluation.localized.plan import plan_localized
from crossray.evaluation.localized.suite import run_localized
from crossray.evaluation.localized.table import read_localized
from crossray.evaluation.segmentation.scores import MODEL
from tests.evaluation.localized.stores import small_request, twin_store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of RSNA's twin."""
    folder = tmp_path_factory.mktemp("stores")
    twin_store("rsna_pneumonia", folder)
    return folder


@pytest.fixture(scope="module")
def linear(data: Path) -> Path:
    """Results of a linear protocol on all of its films."""
    request = small_request("rsna_seg_linear_100", data)
    run_localized(replace(request, changes=(*request.changes, "validation_fraction=1.0")))
    return request.out


def test_a_segmentation_protocol_prints_every_dice_beside_its_baselines(linear: Path) -> None:
    results = read_localized(linear)
    found = {(row.metric, row.predictor) for row in results.rows}
    scores = ("Dice, whole split", "Dice, positive images", "Dice, empty = 1", "mDice, two classes")
    assert found == {(score, who) for score in scores for who in (MODEL, "all-empty", "all-positive")}
    empty = next(row for row in results.rows if (row.metric, row.predictor) == ("Dice, empty = 1", "all-empty"))
    assert empty.positives is not None
    assert empty.value == pytest.approx(1 - empty.positives / empty.n)


def test_every_row_carries_its_protocol_split_seeds_and_interval(linear: Path) -> None:
    results = read_localized(linear)
    row = results.headline("rsna_seg_linear_100")
    assert (row.metric, row.target, row.preset, row.seeds, row.runs) == (
        "Dice, whole split", "opacity", "clean", "1, 2", 2,
    )  # fmt: skip
    assert row.half_width is not None
    assert (row.low or 0.0) <= (row.value or 0.0) <= (row.high or 0.0)
    assert (row.train, row.validation, row.n) == (14, 5, 5)
    assert row.changed.endswith("validation_fraction=1.0, batch_size=14 (all training films)")
    assert len(row.split_hash) == len(row.store_hash) == 64
    assert row.learning_rate in {rate for rate, _ in results.provenance.searched[row.protocol]}
    with (linear / "localized.csv").open(encoding="utf-8") as file:
        assert [line["protocol"] for line in csv.DictReader(file)] == ["rsna_seg_linear_100"] * len(results.rows)
    assert "| rsna_seg_linear_100 | clean | Dice, whole split, opacity" in (linear / "localized.md").read_text()


class StoppedError(Exception):
    """Somebody pulled the plug."""


def test_a_stopped_call_goes_on_and_gives_the_same_table(
    data: Path, linear: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = small_request("rsna_seg_linear_100", data, out=tmp_path)
    request = replace(request, changes=(*request.changes, "validation_fraction=1.0"))

    def stop(line: str) -> None:
        if ": search, learning rate 0.003" in line:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_localized(request, stop)
    assert len(list((tmp_path / "cells").rglob("search-*.npz"))) == 2
    lines: list[str] = []
    assert run_localized(request, lines.append).rows == read_localized(linear).rows
    assert len([line for line in lines if ": search, learning rate" in line]) == 2

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a finished call trains nothing and runs no trunk")

    monkeypatch.setattr(session, "measured_normalisation", never)
    monkeypatch.setattr(map_shelf, "frozen_maps", never)
    assert run_localized(request).rows == read_localized(linear).rows


def test_maps_that_do_not_fit_into_memory_give_the_same_numbers(data: Path, linear: Path, tmp_path: Path) -> None:
    request = small_request("rsna_seg_linear_100", data, out=tmp_path, memory=1e-6)
    lines: list[str] = []
    found = run_localized(replace(request, changes=(*request.changes, "validation_fraction=1.0")), lines.append)
    assert "the trunk runs in every step" in " ".join(lines)
    expected = read_localized(linear)
    for row, other in zip(found.rows, expected.rows, strict=True):
        assert (row.metric, row.learning_rate) == (other.metric, other.learning_rate)
        assert row.value == pytest.approx(other.value, abs=2e-3)


def test_a_detection_protocol_scores_all_films(data: Path) -> None:
    request = small_request("rsna_frozen_100", data, seeds=1, preset="legacy")
    results = run_localized(request)
    metrics = [row.metric for row in results.rows]
    assert metrics == ["mAP", "AP50", "AP75", "FROC", "FROC, interpolated", "mAP, films with boxes"]
    row = results.headline("rsna_frozen_100")
    assert (row.preset, row.n, row.target, row.half_width) == ("legacy", 5, "Lung Opacity", None)


def test_a_fine_tuned_classification_protocol_runs(data: Path) -> None:
    results = run_localized(small_request("prior_rsna_classification", data, seeds=1))
    assert [row.metric for row in results.rows if row.predictor == MODEL] == [
        "AUROC",
        "AP",
        "ECE",
        "Brier",
        "F1 at 0.5",
    ]
    (every,) = [row for row in results.rows if row.predictor != MODEL]
    assert (every.metric, every.predictor) == ("F1 at 0.5", "all-positive")
    assert every.positives is not None
    assert every.value == pytest.approx(2 * every.positives / (every.n + every.positives))
    assert results.headline("prior_rsna_classification").metric == "AUROC"


def test_a_protocol_fine_tunes_part_of_its_trunk_if_asked_to(data: Path, tmp_path: Path) -> None:
    request = small_request("prior_rsna_classification", data, seeds=1, out=tmp_path)
    results = run_localized(replace(request, changes=(*request.changes, "trunk=partial:1", "train_fraction=0.5")))
    row = results.headline("prior_rsna_classification")
    assert "trunk=partial:1" in row.changed
    assert row.train == 8


def test_a_plan_says_what_would_be_trained_and_opens_no_trunk(data: Path) -> None:
    plan = plan_localized(small_request("localized18", data, trunk="no such trunk"))
    assert [task.protocol.number for task in plan.tasks] == list(range(1, 10))
    assert plan.skipped["nih_seg_linear"] == "there is no store 'nih_cxr14'"
    assert sum(task.protocol.trainings for task in plan.tasks) == 40
    line = next(task.line for task in plan.tasks if task.protocol.id == "rsna_seg_linear_10")
    assert "6 trainings (4 learning rates, 2 seeds, together on maps computed once) of at most 2 epochs" in line


def test_the_fractions_of_a_data_set_are_nested(data: Path) -> None:
    films = {task.protocol.id: task.films for task in plan_localized(small_request("localized18", data)).tasks}
    one, ten, all_ = (set(films[f"rsna_frozen_{share}"].train.tolist()) for share in (1, 10, 100))
    assert one <= ten < all_
    assert {tuple(each.test) for each in films.values()} == {tuple(films["rsna_frozen_1"].test)}
    assert {tuple(each.whole_train) for each in films.values()} == {tuple(films["rsna_frozen_100"].train)}


def test_lovts_lists_are_taken_with_their_first_rows(data: Path, tmp_path: Path) -> None:
    store = plan_localized(small_request("rsna_frozen_1", data)).tasks[0].films.store
    lists = tmp_path / "lists" / "RSNA-Pneunomia-Detection"
    lists.mkdir(parents=True)
    ids = store.study_ids
    for name, part in (("train", ids[:12]), ("validation", ids[12:22]), ("test", ids[22:])):
        (lists / f"{name}.csv").write_text("ID,boxes,classes\n" + "".join(f"{each},,\n" for each in part))
    (task,) = plan_localized(small_request("rsna_frozen_10", data, split=tmp_path / "lists")).tasks
    used = task.films.split.folds[0]
    assert (used.train, used.validation, used.test) == ((ids[0],), (ids[12],), tuple(ids[22:]))
    assert len(task.films.whole_train) == 12


def test_a_protocol_can_be_pointed_at_another_set(data: Path) -> None:
    request = small_request("covid_linear", data, changes=("size=64", "source=rsna_pneumonia", "targets=[opacity]"))
    (task,) = plan_localized(request).tasks
    assert task.films.store.manifest.inputs.source == "rsna_pneumonia"
    assert task.films.split.protocol == "rsna_pneumonia-60-20-20"


def test_a_store_that_is_not_there_or_too_small_is_named(data: Path) -> None:
    with pytest.raises(DataError, match="no store 'nih_cxr14'"):
        plan_localized(small_request("nih_seg_linear", data))
    with pytest.raises(DataError, match="a store of rsna_pneumonia, not siim_acr"):
        plan_localized(small_request("pneumothorax_unet_frozen_100", data, data=data / "rsna_pneumonia"))
    with pytest.raises(ConfigError, match=r"64 pixels large, protocol 'rsna_frozen_1' needs 224.*--size 224"):
        plan_localized(small_request("rsna_frozen_1", data, changes=()))


def test_a_trunk_that_is_none_is_refused(data: Path) -> None:
    with pytest.raises(ConfigError, match="no architecture 'resnet5'"):
        run_localized(small_request("rsna_seg_linear_1", data, trunk="random:resnet5"))
    with pytest.raises(ConfigError, match="a run has its own weights"):
        run_localized(small_request("rsna_seg_linear_1", data, trunk="runs/x", weights="w.pth"))
