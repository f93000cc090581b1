"""Planted defects in stores, runs and indexes: each is found, and told with its remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.doctor import artefacts
from crossray.doctor.artefacts import examine
from crossray.doctor.finding import Finding
from crossray.errors import DataError
from crossray.files import write_sealed_json
from crossray.inference.run_files import TRAINING, read_run_manifest
from crossray.inference.search.build import build_index
from crossray.training.pretrain import pretrain
from crossray.training.run_folder import seal_run
from tests.damage import truncate
from tests.training.stores import phantom_store, small_recipe


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``store``, ``split.json``, ``run`` and ``index``, which name each other relative to it."""
    folder = tmp_path_factory.mktemp("doctor")
    with chdir(folder):
        here = Path()
        phantom_store(here, studies=12)
        pretrain(small_recipe(here, training={"epochs": 1}), Path("run"))
        build_index(Path("run"), Path("store"), Path("index"))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to plant something in: the working folder."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    monkeypatch.chdir(copy)
    return copy


def problems(path: str) -> list[Finding]:
    return [finding for finding in examine(Path(path)) if finding.level != "ok"]


def test_what_is_whole_has_no_problem_and_names_what_belongs_together(folder: Path) -> None:
    found = examine(Path())
    assert [finding for finding in found if finding.level != "ok"] == []
    assert {finding.subject for finding in found} == {
        *("store store", "split split.json", "run run", "run run, its store", "run run, its split"),
        *("index index", "index index, its run", "index index, its store"),
    }
    assert "can be loaded: global_local" in [finding.said for finding in found]


def _remove(name: str) -> Callable[[], object]:
    return lambda: next(Path().glob(name)).unlink()


def _unfit() -> None:
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    config["method"]["embed_dim"] = 24
    Path("run/config.yaml").write_text(yaml.safe_dump(config))
    seal_run(Path("run"), "finished")


def _anew() -> None:
    shutil.rmtree("store")
    phantom_store(Path(), studies=8)


@pytest.mark.parametrize(
    ("plant", "path", "said", "remedy"),
    [
        (_remove("store/films-*.arrow"), "store", "is missing", "data prepare again"),
        (_remove("store/manifest.json"), "store", "half-written", "data prepare again"),
        (lambda: truncate(Path("run/checkpoints/best.safetensors"), 0), "run", "bytes, ", "Put back a copy"),
        (_remove("run/tokenizer/*.json"), "run", "is missing", "Put back a copy"),
        (_remove("run/manifest.json"), "run", "manifest is missing", "Put back a copy"),
        (_unfit, "run", "cannot be loaded", ""),
        (_anew, "run", "was made anew since", "Put back the one that was used"),
        (_anew, "index", "was made anew since", "Put back the one that was used"),
        (lambda: truncate(next(Path("index").glob("films-*.faiss")), 1), "index", "bytes, ", "index build again"),
    ],
    ids=["shard", "half", "weights", "tokenizer", "manifest", "unfit", "stale store", "stale index", "vectors"],
)
def test_what_does_not_work_is_an_error(
    folder: Path, plant: Callable[[], object], path: str, said: str, remedy: str
) -> None:
    plant()
    errors = [finding for finding in problems(path) if finding.level == "error"]
    assert errors
    assert said in errors[0].said
    assert remedy in errors[0].remedy
    assert errors[0].remedy


def test_a_store_that_moved_is_a_note_with_the_option_that_names_its_new_place(folder: Path) -> None:
    Path("store").rename("elsewhere")
    (of_run,) = problems("run")
    assert (of_run.level, of_run.subject) == ("note", "run run, its store")
    assert f"is not at store (seen from {folder})" in of_run.said
    assert "crossray evaluate --store" in of_run.remedy
    (of_index,) = problems("index")
    assert "crossray search --store" in of_index.remedy


def test_a_store_at_a_url_is_not_looked_for_on_the_disk() -> None:
    (found,) = artefacts._its_store("index index", "https://host/store", "hash", "")
    assert found.subject == "index index, its store"
    assert (found.level, found.said) == ("note", "is at a URL, which is not looked at.")
    assert "crossray verify URL" in found.remedy


def test_a_split_that_is_gone_or_another_is_told(folder: Path) -> None:
    Path("split.json").unlink()
    (gone,) = problems("run")
    assert (gone.level, gone.subject) == ("note", "run run, its split")
    assert "--split" in gone.remedy


def test_a_run_that_was_stopped_says_how_to_go_on(folder: Path) -> None:
    manifest = read_run_manifest(Path("run")).model_copy(update={"outcome": TRAINING})
    write_sealed_json(Path("run/manifest.json"), manifest.model_dump(mode="json", exclude_none=True))
    assert any(f.said == "is not over." and "crossray pretrain" in f.remedy for f in problems("run"))


def test_a_stopped_run_that_asks_for_a_gpu_says_where_it_can_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    config["runtime"]["accelerator"] = "cuda"
    Path("run/config.yaml").write_text(yaml.safe_dump(config))
    seal_run(Path("run"), "finished")
    assert problems("run") == [], "a finished run needs no GPU"
    seal_run(Path("run"), TRAINING)
    noted = [finding for finding in problems("run") if "cannot go on here" in finding.said]
    assert [(finding.level, "asks for cuda" in finding.said) for finding in noted] == [("note", True)]
    assert "runtime.accelerator=auto" in noted[0].remedy


def test_a_store_of_other_code_is_a_note(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "preparation_code", lambda source: "1.0+other")
    (note,) = problems("store")
    assert note.level == "note"
    assert "1.0+other" in note.said


def test_a_folder_without_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no store"):
        examine(tmp_path)


def test_the_exit_code_tells_errors_from_notes(folder: Path) -> None:
    Path("split.json").unlink()
    noted = CliRunner().invoke(app, ["doctor", "run"])
    assert noted.exit_code == 0, noted.output
    assert "note  run run, its split" in noted.output
    truncate(Path("run/checkpoints/best.safetensors"), 0)
    broken = CliRunner().invoke(app, ["doctor", "run", "--json"])
    assert broken.exit_code == 1
    told = json.loads(broken.output)
    assert {"level": "error", "subject": "run run"}.items() <= told[0].items()
    assert set(told[0]) == {"level", "subject", "said", "remedy"}
