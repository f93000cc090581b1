"""One bound for what stores at URLs leave on the disk: what was used longest ago goes, what is being read stays."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.streaming.server import RangeServer
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.store import Store
from crossray.data.streaming import kept_stores
from crossray.data.streaming.cache_room import CacheRoom
from crossray.data.streaming.mirror import table_bytes
from crossray.data.streaming.settings import StreamSettings
from crossray.data.streaming.streamable import make_streamable
from crossray.errors import ConfigError
from tests.data.studies import MemorySource, make_study

NAMES = ("a", "b", "c")
#: Films of a block, of 16 pixels.
BLOCK = 64 * 16**2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("caches")
    for first, name in enumerate(NAMES):
        items = [make_study(number) for number in range(200 * first, 200 * first + 128)]
        prepare_store(MemorySource(items, version=name), home / name, PrepareConfig(size=16), workers=1)
        make_streamable(home / name)
    return home


@pytest.fixture
def server(home: Path) -> Iterator[RangeServer]:
    with RangeServer(home) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_in_a_process_of_its_own() -> Iterator[None]:
    yield
    let_go()


def let_go() -> None:
    """What the end of a process does: nobody reads the stores any more that it opened."""
    while kept_stores._HELD:
        kept_stores._HELD.popitem()[1].close()


def bounded(folder: Path, most: float) -> StreamSettings:
    return StreamSettings(cache=str(folder), cache_gb=most / 1e9, retry_seconds=0.001, connections=1)


def tables(home: Path, name: str = "a") -> int:
    return table_bytes(Store.open(home / name).manifest)


def names_kept(settings: StreamSettings) -> set[str]:
    return {store.url[-1] for store in CacheRoom(settings).contents().stores}


def bytes_on_disk(folder: Path) -> int:
    """Of all files but the few bytes of locks and origins."""
    files = (path for path in folder.rglob("*") if path.suffix not in (".lock", ".used", ".json") or not path.suffix)
    return sum(path.stat().st_size for path in files if path.is_file())


def test_tables_and_films_of_stores_that_nobody_reads_go_first(home: Path, server: RangeServer, tmp_path: Path) -> None:
    settings = bounded(tmp_path / "cache", 2.5 * tables(home) + 2 * BLOCK)
    for name in ("a", "b"):
        Store.open(f"{server.url}/{name}", streaming=settings).pixels([0])
        let_go()
    Store.open(f"{server.url}/a", streaming=settings)
    let_go()
    assert names_kept(settings) == {"a", "b"}
    store = Store.open(f"{server.url}/c", streaming=settings)
    assert names_kept(settings) == {"a", "c"}  # b was opened longest ago
    assert bytes_on_disk(settings.folder) <= settings.cache_bytes
    assert store.pixels([0, 100]).tobytes() == Store.open(home / "c").pixels([0, 100]).tobytes()
    assert bytes_on_disk(settings.folder) <= settings.cache_bytes
    again = Store.open(f"{server.url}/b", streaming=settings)
    assert again.pixels([5]).tobytes() == Store.open(home / "b").pixels([5]).tobytes()


def test_a_bound_that_does_not_hold_the_tables_is_refused_before_they_are_fetched(
    home: Path, server: RangeServer, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"cache_gb.*do not hold the tables of the stores.*crossray data cache"):
        Store.open(f"{server.url}/a", streaming=bounded(tmp_path / "cache", 0.9 * tables(home)))
    assert {request.name for request in server.requests} == {"manifest.json"}


def read_until_told(url: str, settings: StreamSettings, ready: Any, told: Any) -> None:
    store = Store.open(url, streaming=settings)
    ready.set()
    told.wait(30)
    os._exit(0 if store.report(0).text else 1)


def test_a_store_that_another_process_reads_is_never_removed(home: Path, server: RangeServer, tmp_path: Path) -> None:
    settings = bounded(tmp_path / "cache", 1.5 * tables(home) + BLOCK)
    context = multiprocessing.get_context("fork")
    ready, told = context.Event(), context.Event()
    reader = context.Process(target=read_until_told, args=(f"{server.url}/a", settings, ready, told))
    reader.start()
    assert ready.wait(30)
    (kept,) = CacheRoom(settings).contents().stores
    assert kept.in_use
    with pytest.raises(ConfigError, match="do not hold the tables of the stores that are being read"):
        Store.open(f"{server.url}/b", streaming=settings)
    assert "a" in names_kept(settings)
    told.set()
    reader.join(30)
    assert reader.exitcode == 0
    let_go()
    Store.open(f"{server.url}/b", streaming=settings)
    assert names_kept(settings) == {"b"}


def read_all(url: str, settings: StreamSettings, answers: Any) -> None:
    store = Store.open(url, streaming=settings)
    digest, most = hashlib.sha256(), 0
    for row in (*range(0, 128, 16), *range(0, 128, 16)):
        digest.update(store.pixels([row, 127 - row]).tobytes())
        room = CacheRoom(settings)
        with room.writing():
            found = room.contents()
        most = max(most, found.block_bytes + sum(store.bytes for store in found.stores))
    answers.put((url[-1], digest.hexdigest(), most))


def test_processes_that_share_a_tight_cache_keep_its_bound_and_read_the_right_films(
    home: Path, server: RangeServer, tmp_path: Path
) -> None:
    settings = bounded(tmp_path / "cache", sum(tables(home, name) for name in NAMES) + 1.5 * BLOCK)
    context = multiprocessing.get_context("fork")
    answers: Any = context.SimpleQueue()
    workers = [context.Process(target=read_all, args=(f"{server.url}/{name}", settings, answers)) for name in NAMES * 2]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    for _ in workers:
        name, digest, most = answers.get()
        local = Store.open(home / name)
        rows = (*range(0, 128, 16), *range(0, 128, 16))
        assert digest == hashlib.sha256(b"".join(local.pixels([r, 127 - r]).tobytes() for r in rows)).hexdigest()
        assert most <= settings.cache_bytes


def test_the_cache_is_shown_and_emptied_but_for_what_is_read(
    home: Path, server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSRAY_CACHE", str(tmp_path / "cache"))

    def said(*words: str) -> str:
        return CliRunner().invoke(app, ["data", "cache", *words], catch_exceptions=False).output

    assert "there is no cache" in said()
    Store.open(f"{server.url}/a").pixels([0, 100])
    let_go()
    store = Store.open(f"{server.url}/b")
    shown = said("--folder", str(tmp_path / "cache"))
    assert "films: 2 blocks, 0.0 MB" in shown
    assert f"tables of {server.url}/a: 0." in shown
    assert f"tables of {server.url}/b: " in shown
    assert shown.count("being read") == 1
    emptied = said("--empty")
    assert "films: 0 blocks" in emptied
    assert f"{server.url}/a" not in emptied
    assert f"{server.url}/b" in emptied
    assert store.pixels([3]).tobytes() == Store.open(home / "b").pixels([3]).tobytes()
    let_go()
    assert "tables of" not in said("--empty")
