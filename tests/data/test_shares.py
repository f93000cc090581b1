"""A store made in shares, side by side: the bytes of one that was made at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data import publish
from crossray.data.prepare import PrepareConfig, Share, prepare_share, prepare_store
from crossray.data.publish import discard, partial_folder, work_folder
from crossray.errors import ConfigError, StoreError
from tests.data.studies import MemorySource, studies

SOURCE = MemorySource(studies(300))  # five shards
CONFIG = PrepareConfig(size=16)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("once") / "store"
    prepare_store(SOURCE, path, CONFIG, workers=1)
    return contents(path)


def made(store: Path) -> list[str]:
    return sorted(path.name for path in partial_folder(store).glob("outcome-*.json"))


def test_shares_made_side_by_side_are_put_together_to_the_same_bytes(at_once: dict[str, bytes], tmp_path: Path) -> None:
    store = tmp_path / "store"
    with ThreadPoolExecutor(2) as pool:
        counts = pool.map(lambda index: prepare_share(SOURCE, store, CONFIG, Share(index, 2), workers=1), (1, 0))
    assert list(counts) == [2, 3]
    assert len(made(store)) == 5
    assert not store.exists()
    prepare_store(SOURCE, store, CONFIG, workers=1)
    assert contents(store) == at_once


def test_what_no_share_has_made_is_made_at_last(at_once: dict[str, bytes], tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert prepare_share(SOURCE, store, CONFIG, Share(2, 3), workers=1) == 1
    assert made(store) == ["outcome-00002.json"]
    prepare_store(SOURCE, store, CONFIG, workers=1)
    assert contents(store) == at_once


def test_a_share_is_let_in_beside_others_of_its_inputs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_SHARED_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(publish, "PATIENCE_SECONDS", 0.0)
    store = tmp_path / "store"
    prepare_share(SOURCE, store, CONFIG, Share(0, 5), workers=1)
    inputs = (partial_folder(store) / "inputs.json").read_text()
    with work_folder(store, inputs, shared=True):
        assert prepare_share(SOURCE, store, CONFIG, Share(1, 5), workers=1) == 1
        with pytest.raises(StoreError, match="being prepared by another process"):
            prepare_store(SOURCE, store, CONFIG, workers=1)
        with pytest.raises(StoreError, match="being prepared by another process"):
            prepare_share(SOURCE, store, PrepareConfig(size=32), Share(0, 5), workers=1)
    with (
        work_folder(store, inputs),
        pytest.raises(StoreError, match=f"being prepared by process {os.getpid()} on host"),
    ):
        prepare_share(SOURCE, store, CONFIG, Share(2, 5), workers=1)
    assert len(made(store)) == 2


WAIT = """
import pathlib, sys
from crossray.data.publish import work_folder
print("waits", flush=True)
with work_folder(pathlib.Path(sys.argv[1]), "inputs") as folder:
    print((folder / "inputs.json").read_text())
"""


def test_who_waits_for_one_that_ends_begins_in_a_folder_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with work_folder(out, "inputs") as folder:
        waiting = subprocess.Popen([sys.executable, "-c", WAIT, str(out)], stdout=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waits\n"
        time.sleep(0.2)  # it has opened the lock by now, or comes later: both must do
        (folder / "part").write_text("taken")
        discard(folder)
        assert not (folder / "part").exists()
    assert waiting.communicate()[0] == "inputs\n"
    assert waiting.returncode == 0
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == ["inputs.json"]


def test_the_command_makes_a_share_and_no_store(tmp_path: Path) -> None:
    options = ["--set", "count=3", "--set", "size=64", "--size", "32", "--workers", "1", "--out", str(tmp_path / "s")]
    told = CliRunner().invoke(app, ["data", "prepare", "phantom", *options, "--shard", "1/1"], catch_exceptions=False)
    assert "Share 1/1: 1 shards are made. Call it without --shard" in told.output
    assert not (tmp_path / "s").exists()
    told = CliRunner().invoke(app, ["data", "prepare", "phantom", *options], catch_exceptions=False)
    assert "3 studies, 3 films" in told.output


def test_a_share_is_counted_from_one() -> None:
    assert Share.of("1/4") == Share(0, 4)
    assert Share.of("4/4") == Share(3, 4)
    for text in ("0/4", "5/4", "4", "a/b", "-1/2", ""):
        with pytest.raises(ConfigError, match="is no share"):
            Share.of(text)
