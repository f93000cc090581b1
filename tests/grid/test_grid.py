"""A grid end to end on a tiny phantom: what it leaves, what it skips, how it stops, what it refuses."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.errors import ConfigError, FolderInUseError, FolderTakenError
from crossray.evaluation.results import read_results
from crossray.evaluation.validator import RetrievalValidator
from crossray.grid.config import load_grid
from crossray.grid.interrupts import Interrupts, StopAskedError
from crossray.grid.plan import pieces_of
from crossray.grid.results import bases_of
from crossray.grid.run import FAILURES_FILE, GridOutcome, plan_lines, run_grid
from tests.ownership import another_owner, take_over

pytestmark = pytest.mark.filterwarnings("ignore::crossray.evaluation.metrics.UndefinedMetricWarning")


def _run(
    file: Path, out: Path, said: list[str], *, only: str | None = None, minutes: float | None = None
) -> GridOutcome:
    return run_grid(load_grid(file), out, say=said.append, only=only, minutes=minutes)


@pytest.fixture(scope="module")
def whole(write_grid: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of two entries and two seeds, carried out."""
    folder = tmp_path_factory.mktemp("whole")
    file = write_grid(folder, seeds=[0, 1])
    outcome = _run(file, folder / "out", [])
    assert outcome.exit_code == 0
    return folder


def test_a_grid_leaves_runs_results_and_shared_cells(whole: Path) -> None:
    out = whole / "out"
    for entry in ("convirt", "global_local"):
        for seed in (0, 1):
            results = read_results(out / "results" / entry / f"seed{seed}")
            assert results.provenance.seeds["training"] == seed
            assert results.select(task="probe", model=f"pretrained ({entry})")
            assert (out / "runs" / entry / f"seed{seed}-fold0" / "checkpoints" / "best.safetensors").is_file()
    assert len(list((out / "cells" / "fold0").glob("pretrained-probe-*.npz"))) == 4
    assert len(list((out / "cells" / "fold0").glob("floor-probe-*.npz"))) == 1
    assert not (out / "failures.jsonl").exists()


def test_seeds_are_the_outer_loop(whole: Path) -> None:
    pieces = pieces_of(load_grid(whole / "grid.yaml"), whole / "out", [])
    assert [piece.seed for piece in pieces] == [0] * 4 + [1] * 4
    assert [piece.entry for piece in pieces[:4]] == ["convirt", "convirt", "global_local", "global_local"]


def test_a_finished_grid_does_nothing_again(whole: Path) -> None:
    weights = sorted((whole / "out").rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    outcome = _run(whole / "grid.yaml", whole / "out", [])
    assert (outcome.done, len(outcome.skipped), outcome.exit_code) == ([], 8, 0)
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_changed_evaluation_settings_evaluate_again_without_training(
    whole: Path, write_grid: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_grid(tmp_path, seeds=[0, 1], evaluation={"tasks": ["retrieval"], "settings": {"protocol.draws": 10}})
    lines = plan_lines(load_grid(file), whole / "out")
    assert sum("evaluation" in line and "have changed" in line for line in lines) == 4
    assert lines[-1] == "8 pieces: 4 done, 0 partial, 4 to do"


def test_a_run_of_another_recipe_is_refused_with_what_differs(whole: Path) -> None:
    grid = load_grid(whole / "grid.yaml", ["training.epochs=3"])
    with pytest.raises(ConfigError, match=r"convirt, seed 0, fold 0: training\.epochs \(2 before, 3 now\)"):
        run_grid(grid, whole / "out", say=lambda line: None)
    assert any("changed" in line for line in plan_lines(grid, whole / "out"))


def test_the_grids_folder_is_compared_as_it_stands(whole: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compare", str(whole / "out"), "--out", str(tmp_path / "compared")])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "compared" / "compare.json").read_text(encoding="utf-8"))
    names = [line["name"] for line in content["lines"]]
    assert names == ["convirt", "global_local", "ridge to TF-IDF", "untrained trunk", "chance"]
    assert content["lines"][1]["seeds"] == [0, 1]
    for name in ("table.md", "table.csv", "table.tex", "figure.png", "figure.svg"):
        assert (tmp_path / "compared" / name).stat().st_size > 0


def test_a_failing_entry_is_recorded_and_the_others_go_on(make_grid: Callable[..., Path], tmp_path: Path) -> None:
    entries = {"too_large": {"overrides": {"training.batch_size": 500}}, "convirt": {}}
    said: list[str] = []
    outcome = _run(make_grid(entries=entries), tmp_path / "out", said)
    assert outcome.exit_code == 1
    assert outcome.failed == ["too_large, seed 0, fold 0"]
    assert outcome.left == ["too_large, seed 0, evaluation"]
    assert outcome.done == ["convirt, seed 0, fold 0", "convirt, seed 0, evaluation"]
    (record,) = map(json.loads, (tmp_path / "out" / "failures.jsonl").read_text(encoding="utf-8").splitlines())
    assert record["entry"] == "too_large"
    assert "fewer than one batch of 500" in record["error"]
    assert any("FAILED" in line for line in said)


def test_a_signal_during_training_saves_and_the_next_call_goes_on(
    make_grid: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = make_grid(), tmp_path / "out"
    validate = RetrievalValidator.__call__

    def stop_after_validating(self: RetrievalValidator, *arguments: Any) -> Mapping[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return validate(self, *arguments)

    monkeypatch.setattr(RetrievalValidator, "__call__", stop_after_validating)
    stopped = _run(file, out, [])
    assert stopped.exit_code == 143
    assert stopped.done == []
    monkeypatch.undo()
    assert "partial  in epoch 1 of 2" in plan_lines(load_grid(file), out)[0]
    said: list[str] = []
    assert _run(file, out, said, only="convirt").exit_code == 0
    assert any("goes on: in epoch" in line for line in said)


def test_a_signal_between_pieces_and_the_clock_stop_the_grid(make_grid: Callable[..., Path], tmp_path: Path) -> None:
    file, said = make_grid(), list[str]()

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("[1/4]"):
            os.kill(os.getpid(), signal.SIGINT)

    outcome = run_grid(load_grid(file), tmp_path / "out", say=say)
    assert (outcome.signal, outcome.exit_code) == (signal.SIGINT, 130)
    assert "Stopped by SIGINT, saved. The same command goes on from there." in said
    late = _run(file, tmp_path / "out", [], minutes=0.0)
    assert (late.time_is_up, late.exit_code) == (True, 3)


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StopAskedError), Interrupts().watched():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_two_grids_in_one_folder_are_refused_and_a_dead_ones_folder_is_taken_over(
    tmp_path: Path, write_grid: Callable[..., Path]
) -> None:
    file, out = write_grid(tmp_path), tmp_path / "out"
    said: list[str] = []

    def say_and_stop(line: str) -> None:
        said.append(line)
        if line.startswith("Taken over"):
            raise StopAskedError(signal.SIGTERM)

    with another_owner(out) as other:
        with pytest.raises(FolderInUseError, match=f"in use by process {other.pid} on"):
            run_grid(load_grid(file), out, say=say_and_stop)
        other.kill()
        other.wait()
        assert said == []
        run_grid(load_grid(file), out, say=say_and_stop)
    assert said[0].startswith(f"Taken over from process {other.pid} on host")
    assert [path.name for path in out.iterdir() if path.name.startswith(".owner")] == []


def test_a_grid_that_was_taken_over_ends_and_records_no_failure(
    tmp_path: Path, write_grid: Callable[..., Path]
) -> None:
    file, out = write_grid(tmp_path), tmp_path / "out"
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("[1/4]"):
            take_over(out)

    with pytest.raises(FolderTakenError):
        run_grid(load_grid(file), out, say=say)
    assert said[-1].startswith("[1/4]")
    assert not (out / FAILURES_FILE).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entry": {}}, r"'entry': is not a known key.*Did you mean 'entries'"),
        ({"entries": {"a/b": {}}}, "'a/b' cannot name a folder"),
        ({"seeds": [0, 0]}, "there twice"),
        ({"entries": {"one": {"overrides": {"method.gama": 1}}}}, r"entry 'one': .*method\.gama"),
        ({"entries": {"one": {"recipe": "nowhere.yaml"}}}, r"entry 'one': .*nowhere\.yaml"),
        ({"base": None}, "has no recipe, and the grid has no base"),
        ({"evaluation": {"tasks": ["retreival"]}}, "tasks"),
        ({"evaluation": {"settings": {"finetune.epoch": 1}}}, r"Did you mean 'finetune\.epochs'"),
        ({"evaluation": {"settings": {"protocol.draw": 1}}}, "Did you mean 'draws'"),
    ],
)
def test_a_mistake_in_a_grid_is_told_before_anything_runs(
    make_grid: Callable[..., Path], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_grid(make_grid(**changes))


def test_a_grid_like_another_takes_what_it_does_not_say(make_grid: Callable[..., Path], tmp_path: Path) -> None:
    make_grid(seeds=[3])
    other = tmp_path / "other.yaml"
    entries = "{convirt: , wide: {of: convirt, overrides: {method.embed_dim: 24}}, wider: {of: wide}}"
    other.write_text(f"like: grid.yaml\noverrides: {{training.epochs: 1}}\nentries: {entries}\n", encoding="utf-8")
    grid = load_grid(other)
    assert grid.config.seeds == (3,)
    assert list(grid.config.entries) == ["convirt", "wide", "wider"]
    widths = [grid.recipe(name, 3, "0").method.model_dump()["embed_dim"] for name in grid.config.entries]
    assert widths == [16, 24, 24]
    assert grid.recipe("convirt", 3, "0").training.epochs == 1


@pytest.mark.parametrize("of", ["nothing", "one", "two"])
def test_an_entry_of_nothing_or_of_itself_is_refused(make_grid: Callable[..., Path], of: str) -> None:
    with pytest.raises(ConfigError, match=f"is of '(one|two|{of})', which (does not exist|is of itself)"):
        load_grid(make_grid(entries={"one": {"of": of}, "two": {"of": "one"}}))


def test_an_unknown_entry_names_those_there_are(make_grid: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no entry 'clip'.*Entries are convirt, global_local"):
        plan_lines(load_grid(make_grid()), tmp_path, only="clip")


def test_some_tasks_may_be_chosen(make_grid: Callable[..., Path]) -> None:
    entries = {"convirt": None, "probed": {"of": "convirt", "tasks": ["probe", "floors"]}}
    grid = load_grid(make_grid(entries=entries)).with_tasks(["floors", "retrieval"])
    assert grid.tasks("convirt") == ("retrieval", "floors")
    assert grid.tasks("probed") == ("floors",)
    with pytest.raises(ConfigError, match=r"does not evaluate 'finetune'.*Its tasks: retrieval, probe, floors"):
        load_grid(make_grid()).with_tasks(["finetune"])


def test_a_grid_says_what_its_entries_vary(make_grid: Callable[..., Path]) -> None:
    entries = {"convirt": None, "colder": {"of": "convirt", "overrides": {"method.temperature": 0.05}}, "alone": None}
    assert bases_of(load_grid(make_grid(entries=entries))) == {"colder": "convirt"}


def test_some_seeds_and_some_entries_may_be_chosen(make_grid: Callable[..., Path], tmp_path: Path) -> None:
    grid = load_grid(make_grid(seeds=[0, 1, 2])).with_seeds(["2", "0"])
    assert grid.config.seeds == (0, 2)
    lines = plan_lines(grid, tmp_path, only="global_local,convirt")
    assert [line.split("  ")[0] for line in lines[:-1]][:3] == [
        "global_local, seed 0, fold 0",
        "global_local, seed 0, evaluation",
        "convirt, seed 0, fold 0",
    ]
    assert len(lines) == 9
    with pytest.raises(ConfigError, match=r"has no seed '3'.*Its seeds: 0, 1, 2"):
        load_grid(make_grid(seeds=[0, 1, 2])).with_seeds(["3"])


def test_the_command_shows_the_plan_without_writing(make_grid: Callable[..., Path], tmp_path: Path) -> None:
    file, out = make_grid(), tmp_path / "out"
    result = CliRunner().invoke(app, ["grid", str(file), "--out", str(out), "--dry-run", "--only", "convirt"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "2 pieces: 0 done, 0 partial, 2 to do"
    assert not out.exists()
