"""A run whose store is at a URL: the losses and weights of one whose store is on the disk."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from benchmarks.streaming.server import Answer, RangeServer, Request
from safetensors.torch import load_file
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.block_order import BlockOrderConfig
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.split_files import write_split
from crossray.data.splits import Fold, SplitList
from crossray.data.store import Store
from crossray.data.store_manifest import read_manifest
from crossray.data.streaming.mirror import table_bytes
from crossray.data.streaming.streamable import make_streamable
from crossray.errors import ConfigError, StoreError
from crossray.evaluation.protocol import EvaluationConfig
from crossray.evaluation.suite import open_evaluation
from crossray.evaluation.validator import RetrievalValidator
from crossray.inference.search.build import build_index
from crossray.training.config import RuntimeConfig
from crossray.training.pretrain import pretrain
from crossray.training.recipe import Recipe
from crossray.training.run_folder import Provenance
from tests.data.studies import MemorySource, make_study
from tests.training.fakes import figures_of
from tests.training.stores import small_recipe

#: 200 studies in blocks of 64, every other one trained on: four blocks, twelve batches of eight an epoch.
STUDIES, BLOCKS, EPOCHS = 200, 4, 2
SIZE = 32
ORDER = {"lanes": 1, "shuffle": 8}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("prepared")
    source = MemorySource([make_study(number) for number in range(STUDIES)])
    prepare_store(source, home / "store", PrepareConfig(size=SIZE), workers=1)
    make_streamable(home / "store")
    # Studies 2k and 2k + 1 are of one patient.
    ids = [f"s{number}" for number in range(STUDIES)]
    sides = [[study for number, study in enumerate(ids) if number // 2 % 2 == side] for side in range(2)]
    fold = Fold("0", tuple(sides[0]), tuple(sides[1][:20]), tuple(sides[1][20:60]))
    write_split(SplitList("small", (fold,)), home / "split.json")
    return home


def recipe(home: Path, store: str | None = None, *, cache: Path | None = None, **runtime: Any) -> Recipe:
    streaming = {"cache": str(cache), "attempts": 2, "retry_seconds": 0.001}
    return small_recipe(
        home,
        data={"order": ORDER} | ({} if store is None else {"store": store}),
        image={"size": 24},
        training={"epochs": EPOCHS, "batch_size": 8},
        runtime={"streaming": streaming, **runtime} if cache is not None else runtime,
    )


@pytest.fixture(scope="module")
def from_disk(prepared: Path) -> Path:
    pretrain(recipe(prepared), prepared / "run", validator=RetrievalValidator())
    return prepared / "run"


def assert_same_run(run: Path, other: Path) -> None:
    for kind in ("train", "validation"):
        assert figures_of(run, kind) == figures_of(other, kind)
    for name in ("best", "last"):
        one, two = (load_file(folder / "checkpoints" / f"{name}.safetensors") for folder in (run, other))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


def ranges(requests: list[Request]) -> Counter[tuple[str, int]]:
    return Counter((request.name, request.start) for request in requests)


@pytest.mark.parametrize("workers", [0, 2])
def test_losses_and_weights_are_those_of_a_store_on_the_disk(
    prepared: Path, from_disk: Path, tmp_path: Path, workers: int
) -> None:
    with RangeServer(prepared / "store") as server:
        streamed = recipe(prepared, server.url, cache=tmp_path / "cache", workers=workers)
        pretrain(streamed, tmp_path / "run", validator=RetrievalValidator())
        assert_same_run(tmp_path / "run", from_disk)
        assert ranges(server.films()) == dict.fromkeys(ranges(server.films()), 1)
        assert len(server.films()) == BLOCKS


def test_a_run_whose_server_breaks_down_goes_on_later_and_ends_alike(
    prepared: Path, from_disk: Path, tmp_path: Path
) -> None:
    def down(request: Request, answer: Answer) -> Answer:
        lost = re.fullmatch(r"films-\d+\.arrow", request.name) and len(ranges(server.films())) > 2
        return Answer(b"", 503) if lost else answer

    with RangeServer(prepared / "store", fault=down) as server:
        streamed = recipe(prepared, server.url, cache=tmp_path / "cache", checkpoint_every_steps=1)
        with pytest.raises(StoreError, match=r"films-0000\d.arrow: bytes .* 2 attempts.*503.*the same command"):
            pretrain(streamed, tmp_path / "run", validator=RetrievalValidator())
        steps = len(figures_of(tmp_path / "run", "train"))
        assert 0 < steps < 12
        server.fault = lambda request, answer: answer
        pretrain(streamed, tmp_path / "run", validator=RetrievalValidator())
    assert_same_run(tmp_path / "run", from_disk)


def test_a_cache_too_small_for_the_order_is_refused_before_a_film_is_fetched(prepared: Path, tmp_path: Path) -> None:
    with RangeServer(prepared / "store") as server:
        streamed = recipe(prepared, server.url, cache=tmp_path / "cache")
        settings = streamed.runtime.streaming.model_copy(
            update={"cache_gb": table_bytes(read_manifest(server.folder)) / 1e9 + 1e-5}
        )
        small = streamed.model_copy(update={"runtime": streamed.runtime.model_copy(update={"streaming": settings})})
        with pytest.raises(ConfigError, match=r"cache_gb.*GB of films"):
            pretrain(small, tmp_path / "run")
        assert not server.films()


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("embed RUN STORE --out OUT/films.npz", ["films.npz"]),
        (
            "evaluate RUN --store STORE --tasks retrieval,zero_shot --no-report --out OUT",
            ["results.json", "results.csv"],
        ),
        (
            "transfer RUN --train STORE --split SPLIT --test STORE --set tasks=[retrieval] "
            "--set labels=[Cardiomegaly] --out OUT",
            ["results.csv"],
        ),
        ("index build RUN STORE --out OUT", ["films-*.faiss", "reports-*.faiss"]),
    ],
    ids=["embed", "evaluate", "transfer", "index"],
)
def test_commands_give_for_a_url_what_they_give_for_its_folder(
    prepared: Path, from_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, files: list[str]
) -> None:
    monkeypatch.setenv("CROSSRAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    with RangeServer(prepared / "store") as server:
        for store, out in ((server.url, "url"), (str(prepared / "store"), "folder")):
            places = {"RUN": from_disk, "STORE": store, "SPLIT": prepared / "split.json", "OUT": tmp_path / out}
            said = [str(places.get(word, word)).replace("OUT/", f"{tmp_path / out}/") for word in words.split()]
            result = CliRunner().invoke(app, said, catch_exceptions=False)
            assert result.exit_code == 0
        assert server.films()
    for name in files:
        (one,), (other,) = ((tmp_path / out).glob(name) for out in ("url", "folder"))
        assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())


def test_a_search_shows_reports_of_a_store_at_a_url(
    prepared: Path, from_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSRAY_CACHE", str(tmp_path / "cache"))

    def found(*more: str) -> Any:
        words = ["search", str(tmp_path / "index"), "--text", "The heart is enlarged.", "--json", *more]
        return json.loads(CliRunner().invoke(app, words, catch_exceptions=False).output)

    with RangeServer(prepared / "store") as server:
        build_index(from_disk, server.url, tmp_path / "index")
        own, named = found(), found("--store", str(prepared / "store"))
        assert own == named == found("--store", server.url)
        assert own[0]["report"].startswith("FINDINGS")


def test_evaluation_uses_the_cache_of_the_run_unless_the_environment_names_another(
    prepared: Path, from_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CROSSRAY_CACHE", "CROSSRAY_CACHE_GB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run = tmp_path / "run"
    shutil.copytree(from_disk, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["runtime"]["streaming"] |= {"cache": str(tmp_path / "of_run"), "cache_gb": 0.5, "connections": 3}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with RangeServer(prepared / "store") as server:
        store = open_evaluation([run], EvaluationConfig(), store=server.url).store
        assert store.streamed is not None
        assert (store.streamed.settings.cache_bytes, store.streamed.settings.connections) == (500_000_000, 3)
        assert store.path.is_relative_to(tmp_path / "of_run")
        assert not (tmp_path / "home").exists()
        monkeypatch.setenv("CROSSRAY_CACHE", str(tmp_path / "of_environment"))
        monkeypatch.setenv("CROSSRAY_CACHE_GB", "2")
        other = open_evaluation([run], EvaluationConfig(), store=server.url).store
        assert other.path.is_relative_to(tmp_path / "of_environment")
        assert other.streamed is not None
        assert (other.streamed.settings.cache_bytes, other.streamed.settings.connections) == (2_000_000_000, 3)


def test_lanes_must_divide_a_batch(prepared: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.order.lanes \(3\) must divide training.batch_size \(4\)"):
        small_recipe(prepared, data={"order": {"lanes": 3}})


def test_the_order_is_part_of_a_run_and_the_way_of_streaming_is_not(prepared: Path) -> None:
    plain, ordered = small_recipe(prepared), small_recipe(prepared, data={"order": ORDER})
    provenance = Provenance(store="s", split="p", prepared_size=32)
    assert provenance.identity(plain) != provenance.identity(ordered)
    other_cache = ordered.model_copy(update={"runtime": RuntimeConfig(workers=3)})
    assert provenance.identity(ordered) == provenance.identity(other_cache)
    assert ordered.data.order == BlockOrderConfig(**ORDER)
    assert Store.open(prepared / "store").streamed is None
