"""The whole evaluation on a tiny store: every task, its floors, the cells it leaves, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crossray.data.split_files import read_split, write_split
from crossray.errors import CheckpointError, ConfigError
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.results import Results, read_results

SETTINGS = (
    "finetune.epochs=1",
    "finetune.batch_size=8",
    "protocol.draws=50",
    "probe.c_grid=[0.01]",
    "ridge.alphas=[100]",
)


def _evaluate(trained: Path, out: Path, said: list[str], *, report: bool = True) -> Results:
    request = EvaluationRequest((trained / "runs",), out, settings=SETTINGS, report=report)
    return evaluate_runs(request, progress=said.append)


@pytest.fixture(scope="module")
def everything(trained: Path) -> Path:
    out = trained / "results"
    _evaluate(trained, out, [])
    return out


def test_every_task_has_our_line_its_floor_and_their_difference(everything: Path) -> None:
    results = read_results(everything)
    for task, floor in (("retrieval", "ridge to TF-IDF"), ("probe", "ImageNet"), ("finetune", "ImageNet")):
        models = {row.model for row in results.select(task=task)}
        assert {"chance", "pretrained (global_local)", floor, f"pretrained (global_local) − {floor}"} <= models
    assert {row.kind for row in results.select(task="zero_shot")} == {"chance", "model", "variant"}


def test_numbers_carry_protocol_hashes_counts_and_intervals(everything: Path) -> None:
    results = read_results(everything)
    assert results.provenance.protocol == "drawn"
    assert results.provenance.labels == ("No Finding", "Pleural Effusion")
    assert results.provenance.studies == 32
    assert len(results.provenance.split_hash) == len(results.provenance.store_hash) == 64
    row = results.one(
        task="probe", model="pretrained (global_local)", metric="AUROC", target="Pleural Effusion", variant=""
    )
    assert (row.n, row.positives) == (32, 22)
    assert row.low is not None
    assert row.high is not None
    assert row.value is not None
    assert row.low <= row.value <= row.high


def test_finished_cells_are_read_rather_than_made_again(everything: Path, trained: Path) -> None:
    said: list[str] = []
    again = _evaluate(trained, everything, said, report=False)
    assert said == []
    assert again.rows == read_results(everything).rows


def test_an_unknown_task_or_setting_names_the_choice(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no task 'retreival'"):
        evaluate_runs(EvaluationRequest((trained / "runs",), tmp_path, tasks="retreival"))
    with pytest.raises(ConfigError, match=r"Did you mean 'finetune\.epochs'"):
        evaluate_runs(EvaluationRequest((trained / "runs",), tmp_path, settings=("finetune.epoch=1",)))


def test_a_run_of_another_split_is_refused(trained: Path, tmp_path: Path) -> None:
    write_split(replace(read_split(trained / "split.json"), protocol="other"), tmp_path / "split.json")
    request = EvaluationRequest((trained / "runs",), tmp_path / "out", split=str(tmp_path / "split.json"))
    with pytest.raises(CheckpointError, match="trained on another split"):
        evaluate_runs(request)


def test_a_folder_without_runs_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no run folder and holds none"):
        evaluate_runs(EvaluationRequest((tmp_path,), tmp_path / "out"))


def test_the_same_fold_twice_is_refused(trained: Path, tmp_path: Path) -> None:
    paths = (trained / "runs" / "fold0", trained / "runs" / "fold0")
    with pytest.raises(CheckpointError, match="fold '0' is there 2 times"):
        evaluate_runs(EvaluationRequest(paths, tmp_path))


def test_the_report_stands_alone(everything: Path) -> None:
    page = (everything / "report.html").read_text(encoding="utf-8")
    assert "Research only, not for diagnosis" in page
    assert "<script" not in page
    assert "https://" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/jpeg;base64,") >= 12
    for part in ("What was trained on what", "Learning curves", "Results", "Nearest reports", "Words on films"):
        assert f"<h2>{part}</h2>" in page
    assert 'class="box"' in page
    assert "pleural effusion" in page
