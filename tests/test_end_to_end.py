"""What the documents promise, done: the demo, a hospital's export turned into a report, the README's Python."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from tests.data.dicom_writing import radiograph, write
from tests.documents import ROOT, Command, blocks, commands

OWN_DATA = ROOT / "docs" / "own-data.md"
COMPARING = ROOT / "docs" / "comparing.md"
README = ROOT / "README.md"

# Laid over documented commands, so that they finish in seconds: everything else is as the reader types it.
TINY_MODEL = (
    "image.size=64",
    "image.resize=64",
    "text_encoder.layers=1",
    "text_encoder.width=64",
    "text_encoder.heads=2",
    "text_encoder.vocabulary_size=300",
    "runtime.progress=false",
    "runtime.tensorboard=false",
)
FROM_SCRATCH = (
    "text_encoder.pretrained=none",
    "text_encoder.freeze_embeddings=false",
    "text_encoder.frozen_layers=0",
    "text_encoder.remember_frozen=false",
)
SHORTCUTS = {
    "pretrain": (*TINY_MODEL, *FROM_SCRATCH, "training.epochs=1", "training.batch_size=8"),
    "evaluate": ("--set", "finetune.epochs=1", "--set", "protocol.draws=20"),
}


def run(*words: str) -> str:
    """What a command of crossray prints; a failure fails the test with it."""
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def run_documented(command: Command) -> str:
    """A documented command with the shortcuts of its kind."""
    return run(*command.words[1:], *SHORTCUTS.get(command.words[1], ()))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder in which ``crossray demo`` ran, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    with contextlib.chdir(folder):
        printed = run("demo", "--studies", "100", *TINY_MODEL, "training.epochs=2", "training.batch_size=16")
        yield folder, printed


def test_the_demo_ends_with_a_report(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    assert printed.rstrip().endswith("demo/report/report.html")
    page = (folder / "demo" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Research only, not for diagnosis" in page
    assert page.count("<img") >= 12
    assert page.count("<svg") >= 2
    for headline in ("R@10", "Linear probe", "Zero-shot", "chance", "ridge"):
        assert headline in printed
        assert headline in page


def test_evaluate_prints_the_main_figures_and_where_the_rest_is(demo: tuple[Path, str]) -> None:
    with contextlib.chdir(demo[0]):
        printed = run("evaluate", "demo/run", "--out", "demo/report", "--tasks", "retrieval,zero_shot,probe,floors")
    figures = [line for line in demo[1].splitlines() if "; beside it: " in line]
    assert len(figures) == 3
    assert printed.splitlines()[-4:-1] == figures
    assert printed.rstrip().endswith("demo/report/results.md; with films: demo/report/report.html")


def test_the_reports_page_needs_nothing_but_itself(demo: tuple[Path, str]) -> None:
    page = (demo[0] / "demo" / "report" / "report.html").read_text(encoding="utf-8")
    for outside in ('src="http', "src='http", "<link", "@import", "url(http", "<script"):
        assert outside not in page


def test_a_second_demo_does_nothing_again(demo: tuple[Path, str]) -> None:
    weights = demo[0] / "demo" / "run" / "checkpoints" / "best.safetensors"
    before = weights.stat().st_mtime_ns
    with contextlib.chdir(demo[0]):
        again = run("demo", "--studies", "100", *TINY_MODEL, "training.epochs=2", "training.batch_size=16")
    assert weights.stat().st_mtime_ns == before
    assert again.splitlines()[-4:] == demo[1].splitlines()[-4:]


def test_numbers_of_the_demo_carry_their_protocol(demo: tuple[Path, str]) -> None:
    results = json.loads((demo[0] / "demo" / "report" / "results.json").read_text(encoding="utf-8"))
    split = json.loads((demo[0] / "demo" / "split.json").read_text(encoding="utf-8"))
    assert results["provenance"]["protocol"] == "phantom-demo"
    assert results["provenance"]["split_hash"] == split["hash"]
    recall = [row for row in results["rows"] if row["metric"] == "R@10" and row["kind"] == "model"]
    assert recall
    assert all(row["low"] <= row["value"] <= row["high"] for row in recall)


def test_the_readmes_python_runs_in_the_demos_folder(demo: tuple[Path, str]) -> None:
    (block,) = [block for block in blocks("python", [README]) if "run" in block.kind]
    printed = io.StringIO()
    with contextlib.chdir(demo[0]), contextlib.redirect_stdout(printed):
        exec(compile(block.code, str(block), "exec"), {})  # the README's own text, from the repository
    said = printed.getvalue()
    assert "a difference of cosines, which orders films by one finding and is no probability" in said
    assert "(112, 112)" in said  # the map lies on the pixels that were given


def test_the_readmes_commands_are_those_of_the_guides() -> None:
    guide = {command.words for command in commands([OWN_DATA, COMPARING])}
    readme = [command.words for command in commands([README]) if command.words[0] == "crossray"]
    assert [words for words in readme if words not in guide] == []


@pytest.mark.slow
def test_the_guide_leads_from_a_hospitals_export_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    write_export(tmp_path / "export", studies=80)
    write_own_split(tmp_path / "mine.csv", studies=80)
    (tmp_path / "mydata").mkdir()
    write_their_table(tmp_path / "theirset", studies=40)
    ours = [command for command in commands([OWN_DATA]) if command.words[0] == "crossray"]
    finite = [command for command in ours if command.words[1] != "serve"]  # the viewer waits for visitors
    theirs = next(command.words for command in finite if "theirset/reports.csv" in command.words)
    run(*("theirstore" if word == "mystore" else word for word in theirs[1:]))  # the other hospital's, for transfer
    printed = {command.words[1:3]: run_documented(command) for command in finite}
    assert "studies: 80 " in printed["data", "describe"]
    assert "mystore is whole" in printed["data", "verify"]
    assert "fold fixed" in printed["data", "split"]
    assert "checked: onnx films" in printed["export", "myrun"]
    page = (tmp_path / "myresults" / "report.html").read_text(encoding="utf-8")
    assert "Fine-tuned" in page
    with (tmp_path / "myresults" / "results.csv").open(encoding="utf-8") as file:
        tasks = {row["task"] for row in csv.DictReader(file)}
    assert tasks == {"retrieval", "zero_shot", "probe", "finetune"}
    assert json.loads((tmp_path / "moved" / "results.json").read_text())["provenance"]["labels"] == ["Cardiomegaly"]


def write_export(folder: Path, studies: int) -> None:
    """A hospital's export: DICOM films in folders by study, and a table of reports."""
    rows = []
    for number, study in enumerate(PhantomSource(PhantomConfig(count=studies, difficulty="easy", size=96)).studies()):
        attributes = {"AccessionNumber": f"A{number:04d}", "PatientID": study.patient_id, "ViewPosition": "PA"}
        film = radiograph(study.films[0].pixels.read(), bits=8, **attributes)
        write(film, folder / "dicom" / f"{number:04d}" / "film.dcm")
        rows.append((f"A{number:04d}", study.report.text))
    with (folder / "reports.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("AccessionNumber", "report"), *rows])


def write_their_table(folder: Path, studies: int) -> None:
    """Another hospital's films as PNG, and a table with column names of its own."""
    rows = []
    (folder / "images").mkdir(parents=True)
    for number, study in enumerate(PhantomSource(PhantomConfig(count=studies, difficulty="easy", size=96)).studies()):
        name = f"film{number:04d}.png"
        Image.fromarray(study.films[0].pixels.read()).save(folder / "images" / name)
        rows.append((name, study.patient_id, "PA", study.report.text))
    with (folder / "reports.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "patient_id", "view", "clinical_notes"), *rows])


def write_own_split(path: Path, studies: int) -> None:
    """A split by hand: the phantom's patients have neighbouring numbers, so blocks keep them together."""
    sides = ["train"] * (studies // 2) + ["validation"] * (studies // 4) + ["test"] * (studies // 4)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("study_id", "split"), *((f"A{i:04d}", side) for i, side in enumerate(sides))])
