"""Vectors of a store made in shares, or after a stop: the bytes of those that were made at once."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data import publish
from crossray.data.prepare import Share
from crossray.data.publish import partial_folder, work_folder
from crossray.data.store import Store
from crossray.errors import ConfigError, StoreError
from crossray.inference import embed, embed_store
from crossray.inference.embed import embed_films
from crossray.inference.embed_store import StoreEmbedding, embed_share
from crossray.inference.embed_store import embed_store as put_together
from crossray.methods.clip import ClipConfig
from crossray.tensor_file import write_tensors

from .test_joint_model import write_run
from .test_search import make_store

FILMS = 11


@pytest.fixture(autouse=True)
def parts_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (embed, embed_store):
        monkeypatch.setattr(module, "FILMS_PER_PART", 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``run`` and ``store`` of eleven films: four parts."""
    folder = tmp_path_factory.mktemp("embed")
    write_run(folder / "run", ClipConfig(embed_dim=16))
    make_store(folder / "store", FILMS)
    return folder


@pytest.fixture
def asked(made: Path, tmp_path: Path) -> StoreEmbedding:
    return StoreEmbedding(made / "run", made / "store", tmp_path / "films.npz", batch_size=2)


@pytest.fixture
def at_once(asked: StoreEmbedding) -> bytes:
    alone = replace(asked, out=asked.out.with_name("alone.npz"))
    put_together(alone)
    return alone.out.read_bytes()


def parts(asked: StoreEmbedding) -> list[str]:
    return sorted(path.name for path in partial_folder(asked.out).glob("*.safetensors"))


def test_shares_made_side_by_side_are_put_together_to_the_same_bytes(asked: StoreEmbedding, at_once: bytes) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda index: embed_share(asked, Share(index, 3)), (1, 0, 2))) == [1, 2, 1]
    assert parts(asked) == [f"films-{start:09d}.safetensors" for start in (0, 3, 6, 9)]
    assert not asked.out.exists()
    put_together(asked)
    assert asked.out.read_bytes() == at_once
    assert not partial_folder(asked.out).exists()


def test_vectors_are_those_of_the_films_and_in_their_order(asked: StoreEmbedding, at_once: bytes) -> None:
    found = embed_films(asked.run, [Path(asked.store)], batch_size=2)
    with np.load(asked.out.with_name("alone.npz")) as file:
        assert file["names"].tolist() == list(found.names)
        assert np.array_equal(file["vectors"], found.vectors)
    assert found.vectors.shape == (FILMS, 16)


def test_a_part_that_no_share_has_made_or_that_was_damaged_is_made_at_last(
    asked: StoreEmbedding, at_once: bytes
) -> None:
    told: list[tuple[int, int]] = []
    assert embed_share(asked, Share(1, 2), lambda done, of: told.append((done, of))) == 2
    assert told == [(3, 5), (5, 5)]
    hit = partial_folder(asked.out) / "films-000000003.safetensors"
    content = bytearray(hit.read_bytes())
    content[-5] ^= 1
    hit.write_bytes(content)
    told.clear()
    put_together(asked, lambda done, of: told.append((done, of)))
    assert [done for done, _ in told] == [5, 8, 11]
    assert asked.out.read_bytes() == at_once


def test_a_killed_call_is_gone_on_with(asked: StoreEmbedding, at_once: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    write, left = write_tensors, 2

    def write_until_killed(*arguments: object) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(embed_store, "write_tensors", write_until_killed)
    with pytest.raises(KeyboardInterrupt):
        put_together(asked)
    assert len(parts(asked)) == 2
    monkeypatch.setattr(embed_store, "write_tensors", write)
    told: list[int] = []
    put_together(asked, lambda done, of: told.append(done))
    assert told == [9, 11]
    assert asked.out.read_bytes() == at_once


def test_parts_of_other_inputs_are_not_mixed_in(
    asked: StoreEmbedding, at_once: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_SHARED_PATIENCE_SECONDS", 0.0)
    for other in (replace(asked, space="trunk"), replace(asked, batch_size=3)):
        embed_share(other, Share(0, 1))
        inputs = (partial_folder(asked.out) / "inputs.json").read_text()
        with work_folder(asked.out, inputs, shared=True), pytest.raises(StoreError, match="by another process"):
            embed_share(asked, Share(0, 1))
        put_together(asked)
        assert asked.out.read_bytes() == at_once
    shutil.copytree(asked.run, tmp_path / "run")
    assert replace(asked, run=tmp_path / "run").inputs(store_of(asked)) == asked.inputs(store_of(asked))
    facts = json.loads(asked.inputs(store_of(asked)))
    weights = tmp_path / "run" / "checkpoints" / "best.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    assert json.loads(replace(asked, run=tmp_path / "run").inputs(store_of(asked)))["weights"] != facts["weights"]


def store_of(asked: StoreEmbedding) -> Store:
    return Store.open(asked.store)


def test_the_command_makes_shares_and_puts_them_together(asked: StoreEmbedding) -> None:
    words = ["embed", str(asked.run), str(asked.store), "--out", str(asked.out), "--batch-size", "2"]
    told = CliRunner().invoke(app, [*words, "--shard", "2/2"], catch_exceptions=False)
    assert "Share 2/2: 2 parts are made. Call it without --shard" in told.output
    assert not asked.out.exists()
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    assert f"({FILMS} vectors of 16 numbers)" in told.output
    assert asked.out.exists()
    for what in (["--text", "effusion"], [str(Path(asked.store) / "manifest.json")]):
        words = ["embed", str(asked.run), *what, "--out", str(asked.out), "--shard", "1/2"]
        with pytest.raises(ConfigError, match="only the films of a store are shared"):
            CliRunner().invoke(app, words, catch_exceptions=False)
