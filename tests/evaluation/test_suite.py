"""The whole evaluation on a tiny store: every task, its floors, the cells it leaves, what it refuses."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossray.data.split_files import read_split, write_split
from crossray.errors import CheckpointError, ConfigError
from crossray.evaluation.cells import Arrays, Cells
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.fold_probes import WITH_PROBE
from crossray.evaluation.grounding_floors import ANY_PRIOR, CENTRE, FINDING_PRIOR, SIDE_PRIOR, WORDS_PRIOR
from crossray.evaluation.results import Results, read_results
from crossray.evaluation.tables import tables
from crossray.inference.model import NO_PLACES
from crossray.methods.global_local import GlobalLocal

SETTINGS = (
    "finetune.epochs=1",
    "finetune.batch_size=8",
    "protocol.draws=50",
    "probe.c_grid=[0.01]",
    "ridge.alphas=[100]",
)

_NO_PHRASE = "protocol.grounding.findings=[Fracture]"


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


def test_fine_tuning_is_also_shown_in_the_mean_with_the_probe(everything: Path) -> None:
    rows = [
        row for row in read_results(everything).select(task="finetune", metric="AUROC") if row.variant == WITH_PROBE
    ]
    assert {row.model for row in rows} == {
        "pretrained (global_local)",
        "ImageNet",
        "pretrained (global_local) − ImageNet",
    }
    value = {(row.model, row.target): row.value for row in rows}
    plain = {
        (row.model, row.target): row.value
        for row in read_results(everything).select(task="finetune")
        if not row.variant and row.metric == "AUROC"
    }
    for (model, target), found in value.items():
        if model.endswith("− ImageNet"):  # to the fine-tuned floor as it is
            ours, floor = value["pretrained (global_local)", target], plain["ImageNet", target]
            assert found is None if ours is None or floor is None else found == pytest.approx(ours - floor)


def test_part_of_the_trunk_is_fine_tuned_if_asked_and_the_results_say_so(
    everything: Path, trained: Path, tmp_path: Path
) -> None:
    request = EvaluationRequest(
        (trained / "runs",), tmp_path, tasks="finetune", settings=(*SETTINGS, "finetune.trunk=partial:1"), report=False
    )
    results = evaluate_runs(request)
    assert results.provenance.choices["fine-tuning"].startswith("partial:1, only")
    assert results.provenance.settings["finetune"] == read_results(everything).provenance.settings["finetune"] | {  # type: ignore[operator]
        "trunk": "partial:1"
    }
    conditions = {"task": "finetune", "kind": "model", "metric": "Brier", "target": "Pleural Effusion"}
    assert results.one(**conditions).value != read_results(everything).one(**conditions).value


def test_grounding_stands_beside_chance_and_floors_that_never_look(everything: Path) -> None:
    results = read_results(everything)
    rows = results.select(task="grounding", metric="pointing game", target="all phrases")
    assert [row.model for row in rows] == [
        "chance",
        "pretrained (global_local)",
        "its map on another film",
        CENTRE,
        ANY_PRIOR,
        FINDING_PRIOR,
        SIDE_PRIOR,
        WORDS_PRIOR,
        "pretrained (global_local) − its map on another film",
        f"pretrained (global_local) − {SIDE_PRIOR}",
        f"pretrained (global_local) − {WORDS_PRIOR}",
    ]
    assert {row.n for row in rows} == {22}
    by_model = {row.model: row.value for row in rows}
    assert by_model["chance"] == pytest.approx(12 * 12 / (40 * 32))
    # Left and right effusions lie at two places: whoever reads the side knows the place.
    assert by_model[CENTRE] == 0
    assert by_model[SIDE_PRIOR] == by_model[WORDS_PRIOR] == 1
    assert "the phrase itself is given" in results.provenance.choices["grounding"]


def test_figures_and_maps_of_regions_that_are_no_places_carry_the_warning(
    everything: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GlobalLocal, "regions_are_places", False)
    results = evaluate_runs(
        EvaluationRequest((trained / "runs",), tmp_path, tasks="grounding,probe", settings=SETTINGS)
    )
    assert results.provenance.caveats == {"grounding": NO_PLACES}
    assert read_results(tmp_path).provenance.caveats == {"grounding": NO_PLACES}
    for table in tables(results):
        assert table.caveat == (NO_PLACES if table.task == "grounding" else ""), table.title
    grounding = [part for part in (tmp_path / "results.md").read_text().split("\n## ") if part.startswith("Phrase gro")]
    assert grounding
    assert all(part.splitlines()[2] == f"*{NO_PLACES}*" for part in grounding)
    page = (tmp_path / "report.html").read_text()
    assert page.split('<section id="words">')[1].split("</section>")[0].count("regions are no places") == 1
    assert NO_PLACES not in (everything / "results.md").read_text() + (everything / "report.html").read_text()


def test_a_task_that_cannot_be_done_is_skipped_and_says_why(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    request = EvaluationRequest(
        (trained / "runs",), tmp_path / "a", tasks="grounding,probe", settings=(*SETTINGS, _NO_PHRASE), report=False
    )
    results = evaluate_runs(request, progress=said.append)
    assert {row.task for row in results.rows} == {"probe"}
    assert "fold 1: grounding is skipped, no phrase of the test side has a known place on its film" in said
    monkeypatch.setattr(GlobalLocal, "reads_reports", False)
    tasks = "retrieval,zero_shot,grounding,probe"
    request = EvaluationRequest((trained / "runs",), tmp_path / "b", tasks=tasks, settings=SETTINGS)
    results = evaluate_runs(request, progress=said.append)
    assert {row.task for row in results.rows} == {"probe"}
    for task in ("retrieval", "zero_shot", "grounding"):
        assert f"fold 0: {task} is skipped, global_local reads no reports" in said


def test_the_sentence_may_be_given_instead_of_the_phrase(everything: Path, trained: Path, tmp_path: Path) -> None:
    settings = (*SETTINGS, "protocol.grounding.text=sentence")
    request = EvaluationRequest((trained / "runs",), tmp_path, tasks="grounding", settings=settings, report=False)
    sentence = evaluate_runs(request)
    assert {row.kind for row in sentence.rows} == {"chance", "model"}, "floors were not asked for"
    conditions = {"task": "grounding", "kind": "model", "metric": "CNR", "target": "all phrases"}
    assert sentence.one(**conditions).value != read_results(everything).one(**conditions).value


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


class StoppedError(Exception):
    """Somebody pulled the plug."""


def test_a_stopped_evaluation_goes_on_and_writes_the_same_table(
    everything: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}

    whole = Cells.get

    def stop_after_five(self: Cells, *given: Any) -> Arrays:
        if len(written()) == 5:
            raise StoppedError
        return whole(self, *given)

    with monkeypatch.context() as stopping:
        stopping.setattr(Cells, "get", stop_after_five)
        with pytest.raises(StoppedError):
            _evaluate(trained, tmp_path, [], report=False)
    before = written()
    assert len(before) == 5
    assert not (tmp_path / "results.csv").exists(), "half an evaluation has no table"
    _evaluate(trained, tmp_path, [], report=False)
    after = written()
    assert len(after) > len(before)
    assert before.items() <= after.items(), "a finished cell is made again"
    assert (tmp_path / "results.csv").read_bytes() == (everything / "results.csv").read_bytes()


def test_runs_of_the_same_weights_that_score_prompts_otherwise_share_no_cell(trained: Path, tmp_path: Path) -> None:
    runs = {"words": trained / "runs", "characters": tmp_path / "runs"}
    shutil.copytree(runs["words"], runs["characters"])
    for config in runs["characters"].glob("*/config.yaml"):
        written = config.read_text(encoding="utf-8")
        config.write_text(written.replace("prompt_length: words", "prompt_length: characters"), encoding="utf-8")
    found = []
    for name, path in runs.items():
        settings = (*SETTINGS, "zero_shot.combine=local")
        request = EvaluationRequest((path,), tmp_path / name, tasks="zero_shot", settings=settings, report=False)
        results = evaluate_runs(replace(request, cells=tmp_path / "cells"))
        rows = results.select(task="zero_shot", metric="AUROC", target="Pleural Effusion", kind="model")
        found.append([row.value for row in rows])
    assert found[0] != found[1]


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
    assert "Pointing game, all phrases" in page
    assert re.search(r'<p class="card-interval">95 %: [\d.]+ to [\d.]+</p>', page)
    assert "starts from random weights" in page
    assert "starts from none" not in page
    assert page.count("and perfect calibration.") == 2  # the probe's and the fine-tuned classifier's
    assert "Phrase grounding: all phrases (22 phrases)" in page


def test_the_report_shows_the_best_and_worst_films_of_each_finding(everything: Path) -> None:
    page = (everything / "report.html").read_text(encoding="utf-8")
    section = page.split('<section id="cases">')[1].split("</section>")[0]
    tasks = dict(zip(*[iter(re.split(r"<h3>(.+?)</h3>", section)[1:])] * 2, strict=True))
    assert list(tasks) == ["Zero-shot classification", "Linear probe (frozen features)", "Fine-tuned"]
    for title, part in tasks.items():
        shown = re.findall(r"<figcaption>(best|worst) of those (with it|without): place (\d+)", part)
        assert [what[:2] for what in shown[:4]] == [("best", "with it"), ("worst", "with it"),
                                                    ("best", "without"), ("worst", "without")]  # fmt: skip
        places = [int(place) for _, _, place in shown]
        assert places[0] <= places[1]
        assert places[2] >= places[3]
        assert part.count("data:image/jpeg;base64,") == len(shown) == 8
        assert part.count("probability 0.") == (0 if title.startswith("Zero-shot") else 8)
    assert re.search(r"study s\d\d: Pleural Effusion</span>", section)
    assert re.search(r"study s\d\d: No Finding</span>", section)
