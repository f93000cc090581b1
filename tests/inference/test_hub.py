"""A run by its hub id: what is asked for, and what is said where there is nothing. No network is used."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from typer.testing import CliRunner

import crossray
from crossray.cli.main import app
from crossray.errors import CheckpointError, ConfigError
from crossray.export.export import export_run
from crossray.inference.hub import local_run, origin_of
from crossray.inference.run_files import read_run_manifest
from crossray.methods.clip import ClipConfig

from .test_joint_model import films, write_run

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """A hub that has one export, in the cache's own layout; what it was asked for."""
    run = write_run(tmp_path / "own-run", ClipConfig(embed_dim=16))
    export_run(run, "hub-folder", tmp_path / "there")
    asked: list[tuple[str, str | None]] = []

    def fetched(repo_id: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repo_id, revision))
        cache = tmp_path / "cache" / f"models--{repo_id.replace('/', '--')}" / "snapshots" / COMMIT
        for pattern in allow_patterns:  # the hub gives what matches, and no other file
            for file in (tmp_path / "there").glob(pattern):
                target = cache / file.relative_to(tmp_path / "there")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    monkeypatch.chdir(tmp_path)
    return asked


def test_a_hub_id_loads_what_was_exported_for_the_hub(asked: list[tuple[str, str | None]]) -> None:
    found = crossray.load("a-hospital/clip-chest", revision=COMMIT)
    assert asked == [("a-hospital/clip-chest", COMMIT)]
    pictures = list(films(2))
    np.testing.assert_array_equal(found.embed_images(pictures), crossray.load("own-run").embed_images(pictures))


def test_the_commit_stands_in_info_and_in_what_is_exported_from_it(asked: list[tuple[str, str | None]]) -> None:
    origin = f"a-hospital/clip-chest@{COMMIT}"
    said = CliRunner().invoke(app, ["info", "a-hospital/clip-chest", "--revision", "v1"])
    assert said.exit_code == 0, said.output
    assert asked == [("a-hospital/clip-chest", "v1")]
    facts = dict(line.split("  ", 1) for line in said.output.splitlines())
    assert {name: value.strip() for name, value in facts.items()}["hub"] == origin
    assert facts["method"].strip() == "clip, preset clean"

    fetched = local_run("a-hospital/clip-chest")
    for step, run in (("once", fetched), ("twice", Path("once"))):  # an export of an export still says it
        export_run(run, "hub-folder", Path(step))
        assert read_run_manifest(Path(step)).hub == origin_of(Path(step)) == origin
        assert f"fetched from the hub as `{origin}`" in (Path(step) / "README.md").read_text()
    assert origin_of(Path("own-run")) is None
    assert "hub " not in CliRunner().invoke(app, ["info", "own-run"]).output


def test_what_can_be_no_hub_id_is_a_path(asked: list[tuple[str, str | None]], tmp_path: Path) -> None:
    for path in ("run", "a/b/c", "../up/there", str(tmp_path / "gone"), Path("owner/model")):
        assert local_run(path) == Path(path)
    assert asked == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("mine/mistyped", "mine/ is a folder here"),
        ("demo/run", "demo/ is what folders of runs are usually called"),
        ("weights/GLoRIA.ckpt", "it ends as a file of weights does"),
    ],
)
def test_what_looks_like_a_path_is_not_asked_of_the_hub(
    asked: list[tuple[str, str | None]], path: str, reason: str
) -> None:
    Path("mine").mkdir()
    with pytest.raises(
        CheckpointError, match=f"{path}: there is no such file or folder in .* the hub was not .*{reason}"
    ):
        crossray.load(path)
    assert asked == []
    assert crossray.load(path, revision="main").method == "clip"
    assert asked == [(path, "main")]


def test_a_revision_of_what_is_here_is_refused(asked: list[tuple[str, str | None]]) -> None:
    for run in ("own-run", Path("owner/model"), "a/b/c"):
        with pytest.raises(ConfigError, match=r"revision 'main' .* file or folder, or no hub id"):
            crossray.load(run, revision="main")
    assert asked == []


def test_a_name_that_the_hub_does_not_have_is_refused_by_both_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(repo_id: str, **options: object) -> str:
        raise OSError("404 Client Error\na long story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", absent)
    both = r"owner/model: there is no such file or folder in .*, and the hub gave no model of that name{} \(404 Client"
    with pytest.raises(CheckpointError, match=both.format("")):
        crossray.load("owner/model")
    with pytest.raises(CheckpointError, match=both.format(" at revision 'v2'")):
        crossray.load("owner/model", revision="v2")
