"""BenchX's protocols from a store to a table, stopped and gone on with, planned, and by command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.errors import ConfigError
from crossray.evaluation.localized.calibration import Calibration
from crossray.evaluation.localized.measures import F1_AT_ARGMAX
from crossray.evaluation.localized.pixels import FIXED
from crossray.evaluation.localized.plan import plan_localized
from crossray.evaluation.localized.session import Session
from crossray.evaluation.localized.suite import run_localized
from crossray.evaluation.localized.table import read_localized
from crossray.evaluation.segmentation.scores import MODEL
from tests.evaluation.localized.stores import SIDE, small_request, twin_store

SMALL = (f"size={SIDE}", "schedule.max_epochs=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of twins."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    """Results of a whole protocol with two of its seeds."""
    twin_store("rsna_pneumonia", folder)
    request = small_request("benchx_rsna_100", folder, changes=SMALL)
    run_localized(request)
    return request.out


def test_a_protocol_prints_f1_first_with_its_seeds_and_their_spread(finished: Path) -> None:
    results = read_localized(finished)
    of_model = [row.metric for row in results.rows if row.predictor == MODEL]
    assert of_model == [F1_AT_ARGMAX, "AUROC", "AP", "ECE", "Brier"]
    row = results.headline("benchx_rsna_100")
    assert (row.seeds, row.runs, row.learning_rate, row.preset) == ("42, 0", 2, 5e-5, "clean")
    assert row.std is not None
    assert row.half_width == pytest.approx(1.96 * row.std)  # of two runs: s / sqrt(2) is the divisor-n deviation
    assert results.provenance.normalisation["benchx_rsna_100"] == (0.4978, 0.2449)
    text = (finished / "localized.md").read_text()
    assert "| benchx_rsna_100 | clean | F1 at argmax, Lung Opacity" in text
    assert "| std |" in text
    assert '<section id="benchx_rsna_100">' in (finished / "report.html").read_text(encoding="utf-8")


class StoppedError(Exception):
    """Somebody pulled the plug."""


def test_a_stopped_call_goes_on_and_gives_the_same_table(folder: Path, finished: Path, tmp_path: Path) -> None:
    request = small_request("benchx_rsna_100", folder, changes=SMALL, out=tmp_path)

    def stop(line: str) -> None:
        if "seed 0:" in line:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_localized(request, stop)
    (kept,) = (tmp_path / "cells").rglob("run-*.npz")
    assert kept.name.startswith("run-5e-05-42-")
    lines: list[str] = []
    assert run_localized(request, lines.append).rows == read_localized(finished).rows
    assert len([line for line in lines if ": run, learning rate" in line]) == 1


def test_a_vit_goes_through_the_head_with_the_recipe_of_vits(folder: Path, tmp_path: Path) -> None:
    changes = (*SMALL, "recipe=mgca_vit", "preset=legacy")
    request = small_request("benchx_rsna_100", folder, changes=changes, out=tmp_path, trunk="random:test_vit", seeds=1)
    row = run_localized(request).headline("benchx_rsna_100")
    assert (row.learning_rate, row.preset, row.seeds, row.std) == (1e-2, "legacy", "42", None)
    assert row.value is not None


def test_a_frozen_trunk_with_varied_films_runs_in_every_step(folder: Path, tmp_path: Path) -> None:
    changes = (*SMALL, "trunk=frozen", "schedule.trunk_rate=1")
    lines: list[str] = []
    request = small_request("benchx_rsna_100", folder, changes=changes, out=tmp_path, seeds=1)
    assert run_localized(request, lines.append).headline("benchx_rsna_100").value is not None
    assert not [line for line in lines if line.startswith("maps of")]


def test_more_seeds_than_a_protocol_names_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"has the seeds 42, 0, 1; there are no 5.*seed_list"):
        plan_localized(small_request("benchx_rsna_100", folder, changes=SMALL, seeds=5))


def test_the_suite_by_command_plans_and_runs_what_has_a_store(folder: Path, tmp_path: Path) -> None:
    twin_store("rsna_pneumonia", tmp_path)
    words = ["evaluate", "--suite", "benchx", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--no-report"]
    words += ["--image-encoder", "random:test_resnet", "--set", f"size={SIDE}", "--set", "schedule.max_epochs=2"]
    words += ["--set", "seeds=1"]
    planned = CliRunner().invoke(app, [*words, "--dry-run"], catch_exceptions=False).stdout
    assert "benchx_nih_1: not run, there is no store 'nih_cxr14'" in planned
    assert "  benchx_rsna_100/run-5e-05-42: to do" in planned
    assert "3 pieces, 0 done, 3 to do" in planned
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.stdout
    rows = [row for row in read_localized(tmp_path / "out").rows if row.headline and row.predictor == MODEL]
    assert [row.protocol for row in rows] == ["benchx_rsna_1", "benchx_rsna_10", "benchx_rsna_100"]
    done = CliRunner().invoke(app, [*words, "--dry-run"], catch_exceptions=False).stdout
    assert ", 0 to do" in done.splitlines()[-1]


def test_a_forecast_counts_the_epochs_that_are_looked_at(folder: Path, tmp_path: Path) -> None:
    request = small_request("benchx_rsna_100", folder, out=tmp_path, changes=(f"size={SIDE}",), seeds=1)
    plan = plan_localized(request)
    run = Session(request, plan, lambda _: None).task_run(plan.tasks[0], FIXED["benchx"])
    calibration = Calibration()
    expected = calibration.expected(run, run.pieces())
    (pace,) = calibration._paces.values()
    films: Any = run.films
    tested = (len(films.validation) + len(films.test)) * pace.look
    fewest = 60 * len(films.train) * pace.step + 11 * len(films.validation) * pace.look
    most = 200 * len(films.train) * pace.step + 39 * len(films.validation) * pace.look
    assert expected.basis.startswith("60 to 200 epochs")
    assert [expected.low, expected.high] == pytest.approx([fewest + tested, most + tested])
    quick = replace(request, changes=(*request.changes, "schedule.max_epochs=3"))
    assert "of at most 3 epochs of 1 batches" in plan_localized(quick).tasks[0].line
