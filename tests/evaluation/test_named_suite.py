"""``crossray evaluate`` with --suite and --dry-run, and the one table that every suite writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.errors import ConfigError
from crossray.evaluation import named_suite
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.evaluation_forecast import forecast_evaluation
from crossray.evaluation.localized.shipped import Suite
from crossray.evaluation.localized.table import read_localized
from crossray.evaluation.named_suite import NamedSuite
from crossray.evaluation.numbers import Number, read_numbers
from crossray.evaluation.results import read_results
from tests.evaluation.localized.stores import twin_store

QUICK = ("protocol.draws=20", "finetune.epochs=1", "protocol.labels=[Pleural Effusion]")
SMALL = ("size=64", "schedule.max_epochs=1", "unet_width=32", "seeds=1")


def request_of(trained: Path, out: Path, tasks: str, *runs: str) -> EvaluationRequest:
    paths = tuple(trained / "runs" / run for run in runs) or (trained / "runs",)
    return EvaluationRequest(paths, out, tasks=tasks, settings=QUICK, report=False)


def test_pieces_of_an_evaluation_are_to_do_and_then_done(trained: Path, tmp_path: Path) -> None:
    request = request_of(trained, tmp_path / "out", "retrieval,probe,finetune,floors")
    before = forecast_evaluation(request)
    expected = ["pretrained-retrieval", "floor-ridge", "pretrained-probe", "floor-probe"]
    expected += ["pretrained-finetune", "floor-finetune"]
    for fold, forecast in zip("01", before, strict=True):
        assert [piece.name for piece in forecast.pieces] == [f"fold{fold}/{name}" for name in expected]
        assert forecast.to_do == 6
        assert forecast.expected is not None
        assert 0 < forecast.expected.low <= forecast.expected.high
        assert "6 by 8 films and 16 texts that were timed just now" in forecast.expected.basis
    assert not (tmp_path / "out").exists()

    evaluate_runs(request_of(trained, tmp_path / "out", request.tasks, "fold0"))
    first, second = forecast_evaluation(request)
    assert first.to_do == 0
    assert second.expected is not None
    assert second.expected.basis == "6 as long as in other folds"
    took = sum(piece.took or 0.0 for piece in first.pieces)
    assert second.expected.low == second.expected.high == pytest.approx(took)


def test_a_dry_run_by_command_names_what_is_left(trained: Path, tmp_path: Path) -> None:
    words = ["evaluate", str(trained / "runs"), "--out", str(tmp_path / "out"), "--tasks", "probe", "--dry-run"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("fold 0 of fold0, weights ")
    assert "  fold0/pretrained-probe: to do" in lines
    assert lines[-1].startswith("2 pieces, 0 done, 2 to do: ")
    for more, problem in (([], "no run to evaluate"), (["--image-encoder", "timm:resnet18"], "belongs to a suite")):
        command = ["evaluate", "--out", "x", *more]
        with pytest.raises(ConfigError, match=problem):
            CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)


def test_a_suite_of_heads_and_joint_tasks_is_one_table(trained: Path, tmp_path: Path) -> None:
    twin_store("rsna_pneumonia", tmp_path / "stores")
    settings = [word for change in SMALL for word in ("--set", change)]
    words = ["evaluate", str(trained / "runs" / "fold0"), "--suite", "prior5", "--data", str(tmp_path / "stores")]
    words += ["--out", str(tmp_path / "out"), *settings]
    planned = CliRunner().invoke(app, [*words, "--dry-run"], catch_exceptions=False).stdout
    assert "prior_siim_classification: not run, there is no store 'siim_acr'" in planned
    assert "  prior_rsna_detection/run-" in planned
    assert "  fold0/pretrained-zero-shot: to do" in planned
    assert not (tmp_path / "out").exists()

    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.stdout
    heads, joint = read_localized(tmp_path / "out" / "heads"), read_results(tmp_path / "out" / "joint")
    numbers = read_numbers(tmp_path / "out")
    assert len(numbers) == len(heads.rows) + len(joint.rows)
    assert {row.task for row in numbers} == {"localized", "zero_shot", "retrieval"}
    row = heads.headline("prior_rsna_detection")
    same = next(each for each in numbers if (each.protocol, each.metric) == (row.protocol, row.metric))
    assert (same.value, same.low, same.seeds, same.kind) == (row.value, row.low, row.seeds, "model")
    table = pq.read_table(tmp_path / "out" / "numbers.parquet")
    assert [Number.model_validate(line) for line in table.to_pylist()] == list(numbers)
    done = CliRunner().invoke(app, [*words, "--dry-run"], catch_exceptions=False).stdout
    assert ", 0 to do" in done.splitlines()[-1]
    shutil.rmtree(tmp_path / "stores")


def test_a_suite_of_one_split_refuses_runs_of_another(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(trained, tmp_path, "probe")
    with pytest.raises(ConfigError, match="suite 'iu-rr' is of split 'iu-rr-v1', the run was trained on 'drawn'"):
        NamedSuite.of("iu-rr", request, None, None)
    monkeypatch.setattr(named_suite, "find_suite", lambda name: Suite(tasks=("retrieval",), split="drawn"))
    (first, _) = NamedSuite.of("iu-rr", request, None, None).forecast()
    assert [piece.name for piece in first.pieces] == ["fold0/pretrained-retrieval"]


def test_what_a_suite_needs_is_named(trained: Path, tmp_path: Path) -> None:
    none, one = EvaluationRequest((), tmp_path), request_of(trained, tmp_path, "probe", "fold0")
    with pytest.raises(ConfigError, match=r"no suite or protocol 'chexbench'.*localized18, prior5"):
        NamedSuite.of("chexbench", one, None, None)
    with pytest.raises(ConfigError, match="evaluates a run's films and texts"):
        NamedSuite.of("iu-rr", none, None, "timm:resnet18")
    with pytest.raises(ConfigError, match=r"--data.*trains heads on data sets"):
        NamedSuite.of("localized18", one, None, None)
    for request, encoder in ((none, None), (one, "timm:resnet18"), (request_of(trained, tmp_path, "probe"), "x")):
        with pytest.raises(ConfigError, match="trains heads on one trunk"):
            NamedSuite.of("localized18", request, tmp_path, encoder)
