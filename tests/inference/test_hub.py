"""A run by its hub id: what is asked for, and what is said where there is nothing. No network is used."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

import crossray
from crossray.errors import CheckpointError
from crossray.export.export import export_run
from crossray.inference.hub import local_run
from crossray.methods.clip import ClipConfig

from .test_joint_model import films, write_run


def test_a_hub_id_loads_what_was_exported_for_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", ClipConfig(embed_dim=16))
    export_run(run, "hub-folder", tmp_path / "there")
    asked: list[str] = []

    def fetched(repo_id: str, allow_patterns: list[str]) -> str:
        asked.append(repo_id)
        for pattern in allow_patterns:  # the hub gives what matches, and no other file
            for file in (tmp_path / "there").glob(pattern):
                target = tmp_path / "cache" / file.relative_to(tmp_path / "there")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
        return str(tmp_path / "cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    monkeypatch.chdir(tmp_path)
    found = crossray.load("a-hospital/clip-chest")
    assert asked == ["a-hospital/clip-chest"]
    pictures = list(films(2))
    np.testing.assert_array_equal(found.embed_images(pictures), crossray.load(run).embed_images(pictures))


def test_only_what_can_be_no_path_is_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(repo_id: str, **options: object) -> str:
        raise AssertionError(f"the hub was asked for {repo_id}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for path in ("runs/mistyped", "run", "a/b/c", "../up/there", str(tmp_path / "gone"), Path("owner/model")):
        assert local_run(path) == Path(path)


def test_a_name_that_the_hub_does_not_have_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(repo_id: str, **options: object) -> str:
        raise OSError("404 Client Error\na long story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", absent)
    with pytest.raises(CheckpointError, match=r"owner/model: there is no such .* \(404 Client Error\)\. Give"):
        crossray.load("owner/model")
