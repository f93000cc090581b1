"""A dry run lists every training, which of them are done, and how long the rest would take; it writes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.evaluation.forecast import Expected, Forecast, Piece, duration, forecast_lines
from crossray.evaluation.localized.calibration import Calibration
from crossray.evaluation.localized.forecast import forecast_localized
from crossray.evaluation.localized.pixels import HALF
from crossray.evaluation.localized.plan import LocalizedRequest, plan_localized
from crossray.evaluation.localized.session import Session
from crossray.evaluation.localized.suite import run_localized
from tests.evaluation.localized.stores import small_request, twin_store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of RSNA's twin."""
    folder = tmp_path_factory.mktemp("stores")
    twin_store("rsna_pneumonia", folder)
    return folder


class StoppedError(Exception):
    """Somebody pulled the plug."""


def stopped_before(request: LocalizedRequest, words: str) -> None:
    def stop(line: str) -> None:
        if words in line:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_localized(request, stop)


def test_trainings_are_to_do_then_partly_done_then_done(data: Path, tmp_path: Path) -> None:
    request = small_request("rsna_seg_linear_100", data, out=tmp_path / "out")
    (before,) = forecast_localized(request)
    assert [piece.name.split("/")[1] for piece in before.pieces] == [
        "search-0.03-0", "search-0.01-0", "search-0.003-0", "search-0.001-0", "run-?-1", "run-?-2",
    ]  # fmt: skip
    assert before.to_do == 6
    assert not (tmp_path / "out").exists()
    stopped_before(request, ": search, learning rate 0.003")
    (half,) = forecast_localized(request)
    assert [piece.done for piece in half.pieces] == [True, True, False, False, False, False]
    assert all(piece.took is not None and piece.took > 0 for piece in half.pieces if piece.done)
    results = run_localized(request)
    (after,) = forecast_localized(request)
    rate = results.headline("rsna_seg_linear_100").learning_rate
    assert [piece.name.split("/")[1] for piece in after.pieces[4:]] == [f"run-{rate:g}-1", f"run-{rate:g}-2"]
    assert (after.to_do, after.expected, after.lines[-1]) == (0, None, "  nothing is left to do")
    other = forecast_localized(replace(request, changes=(*request.changes, "schedule.patience=2")))
    assert other[0].to_do == 6


def test_a_forecast_is_measured_where_nothing_is_finished_and_a_mean_where_something_is(
    data: Path, tmp_path: Path
) -> None:
    request = small_request("prior_rsna_classification", data, out=tmp_path / "out")
    (before,) = forecast_localized(request)
    assert before.expected is not None
    assert 0 < before.expected.low <= before.expected.high
    assert "timed just now on 4 films" in before.expected.basis
    stopped_before(request, "run, learning rate 0.0001, seed 2")
    (half,) = forecast_localized(request)
    assert half.expected is not None
    assert half.expected.basis == "mean of 1 finished trainings"
    assert half.expected.low == half.expected.high == half.pieces[0].took


def test_times_grow_with_epochs_and_films_and_maps_are_counted_once(data: Path, tmp_path: Path) -> None:
    request = small_request("localized18", data, out=tmp_path, changes=("size=64", "unet_width=32"), seeds=1)
    plan = plan_localized(request)
    session, calibration = Session(request, plan, lambda _: None), Calibration()
    runs = {task.protocol.id: session.task_run(task, HALF) for task in plan.tasks}
    linear = runs["rsna_seg_linear_100"]
    first = calibration.expected(linear, linear.pieces())
    again = calibration.expected(linear, linear.pieces())
    mapped = len(np.unique(np.concatenate([linear.films.train, linear.films.validation, linear.films.test])))
    (pace,) = calibration._paces.values()
    assert first.low - again.low == pytest.approx(pace.maps * mapped)
    schedule = linear.protocol.schedule
    epoch = len(linear.films.train) * pace.step + len(linear.films.validation) * pace.look
    assert again.high - again.low == pytest.approx(2 * epoch * (schedule.max_epochs - schedule.patience - 1))
    calibration.expected(runs["rsna_seg_linear_10"], runs["rsna_seg_linear_10"].pieces())
    frozen = runs["rsna_frozen_100"]
    calibration.expected(frozen, frozen.pieces())
    assert len(calibration._paces) == 3  # of one training film, of a batch, and of boxes


def test_the_command_prints_pieces_and_a_sum(data: Path, tmp_path: Path) -> None:
    words = ["--data", str(data), "--out", str(tmp_path / "out"), "--trunk", "random:test_resnet", "--set", "size=64"]
    command = ["localized", "--suite", "rsna_seg_linear_100", *words, "--epochs", "2", "--seeds", "2", "--dry-run"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    lines = result.stdout.splitlines()
    assert "6 trainings (4 learning rates, 2 seeds" in lines[0]
    assert lines[1] == "  rsna_seg_linear_100/search-0.03-0: to do"
    assert lines[-1].startswith("6 pieces, 0 done, 6 to do: ")
    assert "intervals and the report not counted" in lines[-1]
    assert not (tmp_path / "out").exists()


def test_lines_add_up_what_is_known_and_say_what_is_not() -> None:
    todo, done = Piece("a", done=False), Piece("b", done=True, took=75.0)
    groups = [
        Forecast("first", (todo, done), Expected(60, 7200, "a guess")),
        Forecast("second", (todo,)),
        Forecast("third", (done,), Expected(1e9, 1e9, "not counted: it is done")),
    ]
    lines = forecast_lines(groups, "the rest")
    assert "  b: done (75 s)" in lines
    assert "  1 to do: 60 s to 2 h 0 min (a guess)" in lines
    assert (
        lines[-1] == "4 pieces, 2 done, 2 to do: 60 s to 2 h 0 min; the rest not counted; of 1 groups no time is known"
    )
    assert Forecast("not run, there is no store", ()).lines == ["not run, there is no store"]
    shown = [duration(seconds) for seconds in (0.2, 99, 100, 5940, 7260, 200000)]
    assert shown == ["below 1 s", "99 s", "2 min", "99 min", "2 h 1 min", "2.3 days"]
