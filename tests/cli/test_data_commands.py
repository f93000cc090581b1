"""``crossray data template | twin | prepare | describe | verify | split`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.split_files import read_split
from crossray.data.store import Store
from crossray.errors import ConfigError, CrossRayError, DataError, StoreError


def run(*arguments: str | Path) -> str:
    """The command's output; its error, if it has one, is raised as :func:`crossray.cli.main.main` sees it."""
    result = CliRunner().invoke(app, ["data", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example manifest in ``own`` and its store in ``store``."""
    home = tmp_path_factory.mktemp("example")
    run("template", home / "own")
    run("prepare", "folder", home / "own", "--out", home / "store", "--size", "64")
    return home


def test_the_example_is_accepted_as_it_is_written(example: Path) -> None:
    store = Store.open(example / "store")
    assert (len(store), store.film_count, store.prepared_size) == (4, 4, 64)
    assert any(store.film(row).boxes for row in range(4))
    assert not (example / "store" / "quarantine.csv").read_text().splitlines()[1:]


def test_an_example_never_overwrites_a_manifest(example: Path) -> None:
    with pytest.raises(DataError, match="left as it is"):
        run("template", example / "own")


def test_preparing_again_says_that_nothing_changed_or_what_did(example: Path) -> None:
    arguments = ("prepare", "folder", example / "own", "--out", example / "again")
    assert "studies in: 4" in run(*arguments, "--size", "32")
    assert "up to date" in run(*arguments, "--size", "32")
    assert "was stale and is made anew: size: 32 -> 48." in run(*arguments, "--size", "48")


def test_describe_tells_counts_in_words_and_as_json(example: Path) -> None:
    assert "films: 4 (4 frontal)" in run("describe", example / "store")
    assert json.loads(run("describe", example / "store", "--json"))["studies"] == 4


def test_verify_tells_whole_stale_and_altered_apart(example: Path) -> None:
    assert "is whole" in run("verify", example / "store", "--source", example / "own")
    boxes = example / "own" / "boxes.csv"
    before = boxes.read_text()
    boxes.write_text(before + "films/none.png,Edema,1,1,2,2\n")
    try:
        with pytest.raises(StoreError, match="stale: the files of the source changed"):
            run("verify", example / "store", "--source", example / "own")
    finally:
        boxes.write_text(before)


def test_verify_takes_the_options_that_a_store_was_prepared_with(tmp_path: Path) -> None:
    twin, store = tmp_path / "twin", tmp_path / "store"
    assert "studies" in run("twin", "mimic_cxr", "--out", twin, "--count", "8", "--size", "64")
    options = ("--set", "expected_counts=twin", "--set", "labeller=negbio")
    run("prepare", "mimic_cxr", twin, "--out", store, "--size", "32", *options)
    assert "is whole" in run("verify", store, "--source", twin, *options)
    with pytest.raises(StoreError, match="stale"):
        run("verify", store, "--source", twin)
    assert "publisher_split: 8 studies" in run("describe", store)


def test_split_writes_a_list_and_checks_a_given_one(example: Path) -> None:
    out = example / "split.json"
    # three of the four studies are one patient's: they train, the fourth tests
    told = run("split", example / "store", "--test", "0.25", "--validation", "0", "--out", out, "--name", "mine")
    split = read_split(out)
    assert split.protocol == "mine"
    assert f"hash {split.hash[:12]}" in told
    assert "train: 3 studies" in told
    assert "test: 1 studies" in told
    assert "protocol mine" in run("split", example / "store", "--list", out)
    with pytest.raises(DataError, match="3 of 3 studies are tied"):  # the fourth is what the list tests on
        run("split", example / "store", "--inside", f"{out}:fixed", "--test", "0.34")
    with pytest.raises(ConfigError, match="'iu-rr-v1' names no fold"):
        run("split", example / "store", "--inside", "iu-rr-v1")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("prepare", "mimic"), ConfigError, "no source 'mimic'.*iu_xray, folder, phantom"),
        (("prepare", "folder"), ConfigError, "needs the folder"),
        (("prepare", "phantom", "somewhere"), ConfigError, "no meaning"),
        (("prepare", "phantom", "--set", "cuont=3"), ConfigError, "Did you mean 'count'"),
        (("prepare", "phantom", "--set", "count"), ConfigError, "key=value"),
        (("prepare", "phantom", "--views", "oblique"), ConfigError, "views"),
        (("prepare", "phantom", "--size", "4"), ConfigError, "size"),
        (("prepare", "phantom", "--labels", "mesh"), ConfigError, "labels"),
        (("describe", "nothing"), StoreError, "no such store"),
        (("verify", "nothing"), StoreError, "no such store"),
        (("split", "nothing"), StoreError, "no such store"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(
    arguments: tuple[str, ...], kind: type[CrossRayError], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message):
        run(*arguments)
    assert not list(tmp_path.iterdir())


def test_the_phantom_is_prepared_by_its_settings(tmp_path: Path) -> None:
    run("prepare", "phantom", "--out", tmp_path / "s", "--size", "32", "--set", "count=3", "--set", "size=64")
    store = Store.open(tmp_path / "s")
    assert len(store) == 3
    with pytest.raises(ConfigError, match="neither together nor apart"):
        run("split", tmp_path / "s", "--texts", "maybe")
