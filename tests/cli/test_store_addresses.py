"""Commands that read a store take its URL; those that need a folder of this machine say so in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.streaming.server import RangeServer
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.streaming.streamable import make_streamable
from crossray.errors import ConfigError, StoreError
from crossray.evaluation.localized.plan import _Stores
from crossray.evaluation.localized.shipped import protocols_of
from tests.data.studies import MemorySource, make_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("addresses")
    # One of two findings each, so that lists of classes can be drawn.
    sick = [{"Cardiomegaly": float(number % 2), "Edema": float(1 - number % 2)} for number in range(40)]
    source = MemorySource([replace(make_study(number), labels=labels) for number, labels in enumerate(sick)])
    prepare_store(source, home / "store", PrepareConfig(size=16), workers=1)
    make_streamable(home / "store")
    return home / "store"


@pytest.fixture
def server(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    monkeypatch.setenv("CROSSRAY_CACHE", str(tmp_path / "cache"))
    with RangeServer(folder.parent) as running:
        yield running


def said(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=code != 0)
    assert result.exit_code == code
    return result.output


def test_audit_split_and_class_list_say_of_a_url_what_they_say_of_its_folder(
    folder: Path, server: RangeServer, tmp_path: Path
) -> None:
    found = {}
    for name, store in (("here", str(folder)), ("there", f"{server.url}/store")):
        split, classes = tmp_path / f"{name}.json", tmp_path / f"{name}-classes.json"
        said("data", "split", store, "--out", str(split), "--folds", "2", "--labels", "Cardiomegaly")
        audit = CliRunner().invoke(app, ["data", "audit", store, "--split", str(split)])
        chosen = ("--per-class", "1", "--classes", "Cardiomegaly,Edema", "--exclusive", "classes")
        said("data", "class-list", store, str(split), "--out", str(classes), *chosen)
        found[name] = split.read_bytes(), classes.read_bytes(), audit.exit_code, audit.output.splitlines()[1:]
    assert found["here"] == found["there"]
    assert len(found["here"][3]) > 3


def test_verify_and_doctor_look_at_all_of_a_store_at_a_url(server: RangeServer) -> None:
    assert "(store) is whole" in said("verify", f"{server.url}/store")
    assert "is whole" in said("doctor", f"{server.url}/store")
    assert server.films()
    server.fault = lambda request, answer: (
        type(answer)(bytes(len(answer.content)), answer.status) if request.name == "films-00000.arrow" else answer
    )
    assert "was altered at http" in said("doctor", f"{server.url}/store", code=1)


def test_protocols_find_their_stores_at_a_url(folder: Path, server: RangeServer) -> None:
    (protocol,) = (
        protocols_of("rsna_yolo_frozen", "clean", ()) if False else [protocols_of("localized18", "clean", ())[0]]
    )
    assert "is a store of" in str(_Stores(f"{server.url}/store").of(protocol))
    assert _Stores(server.url).of(protocol) == f"there is no store '{protocol.source}'"
    server.admits = lambda headers: False
    with pytest.raises(StoreError, match="401"):
        _Stores(server.url)


@pytest.mark.parametrize(
    "words",
    [
        "data streamable URL",
        "data pseudonyms folder x --store URL --out x.csv",
        "data prepare folder x --out URL",
        "evaluate URL --out x",
        "index build URL store --out x",
        "search URL --text x",
        "grid URL --out x",
        "export URL --to onnx --out x",
    ],
)
def test_what_must_lie_on_this_machine_is_asked_for_in_words(words: str, tmp_path: Path) -> None:
    url = "https://me:tr0ub4dor@films.example.org/thing"
    result = CliRunner().invoke(app, words.replace("URL", url).split())
    assert isinstance(result.exception, ConfigError)
    assert "https://films.example.org/thing, field '" in str(result.exception)
    assert "is an address; a folder or file of this machine is needed. Only stores are read" in str(result.exception)
    assert "tr0ub4dor" not in str(result.exception)
