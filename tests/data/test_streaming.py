"""Stores read from a server: the same as on the disk, whatever the connection does, in a cache of bounded size."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.streaming.server import Answer, RangeServer, Request
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.describe import describe_store
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.store import Store
from crossray.data.store_manifest import read_manifest
from crossray.data.streaming.film_index import indexed_shard
from crossray.data.streaming.mirror import table_bytes
from crossray.data.streaming.remote import RemoteFolder
from crossray.data.streaming.settings import StreamSettings
from crossray.data.streaming.streamable import make_streamable
from crossray.data.verify import open_whole, verify_store
from crossray.errors import ConfigError, CrossRayError, StoreError
from crossray.files import FileEntry, write_sealed_json
from tests.data.studies import MemorySource, make_study

SIZE, STUDIES = 16, 150
BLOCK_BYTES = 64 * SIZE**2
#: Shards of 64, 64 and 22 studies with two films each.
BLOCKS = 2 + 2 + 1


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("streaming") / "store"
    items = [make_study(number, ("frontal", "lateral")) for number in range(STUDIES)]
    prepare_store(MemorySource(items), folder, PrepareConfig(size=SIZE, views=("frontal", "lateral")), workers=1)
    assert make_streamable(folder) == 3
    return Store.open(folder)


@pytest.fixture
def server(local: Store) -> Iterator[RangeServer]:
    with RangeServer(local.path) as running:
        yield running


@pytest.fixture
def quick(tmp_path: Path) -> StreamSettings:
    return StreamSettings(cache=str(tmp_path / "cache"), retry_seconds=0.001, timeout_seconds=5.0, attempts=3)


def kept_bytes(settings: StreamSettings) -> int:
    return sum(path.stat().st_size for path in (settings.folder / "films").iterdir() if path.is_file())


def test_an_index_changes_neither_the_tables_nor_the_hash_and_is_made_once(local: Store, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(local.path, copy, ignore=lambda folder, names: [n for n in names if n.endswith(".index")])
    manifest = copy / "manifest.json"
    with_index = read_manifest(local.path)
    without = {name: entry for name, entry in with_index.files.items() if not name.endswith(".index")}
    manifest.write_text(with_index.model_copy(update={"files": without}).model_dump_json())
    (copy / "films-00001.index").write_bytes(b"left by a killed run")
    assert make_streamable(copy) == 3
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert read_manifest(copy) == with_index
    assert make_streamable(copy) == 3
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert verify_store(copy).files == len(with_index.files)


def test_a_store_at_a_url_answers_like_the_one_on_the_disk(
    local: Store, server: RangeServer, quick: StreamSettings
) -> None:
    store = Store.open(server.url, streaming=quick)
    assert not server.films()
    assert (store.hash, store.study_ids, store.patient_ids) == (local.hash, local.study_ids, local.patient_ids)
    assert np.array_equal(store.labels, local.labels, equal_nan=True)
    assert [store.film(row) for row in range(300)] == [local.film(row) for row in range(300)]
    assert np.array_equal(store.mask(7, "heart"), local.mask(7, "heart"))
    assert describe_store(store) == describe_store(local)
    assert not server.films()
    rows = np.random.default_rng(0).integers(0, 300, 80)
    assert np.array_equal(store.pixels(rows), local.pixels(rows))
    assert np.array_equal(store.blocks_of(rows), local.blocks_of(rows))
    assert len(server.films()) == BLOCKS
    assert max(request.end - request.start for request in server.films()) == BLOCK_BYTES


def test_what_is_kept_is_not_fetched_again(local: Store, server: RangeServer, quick: StreamSettings) -> None:
    Store.open(server.url, streaming=quick).pixels([0, 100, 200])
    before = len(server.requests)
    again = Store.open(server.url, streaming=quick)
    assert np.array_equal(again.pixels([0, 1, 100, 200]), local.pixels([0, 1, 100, 200]))
    assert [request.name for request in server.requests[before:]] == ["manifest.json"] * 2  # the second: of one byte


def test_damage_on_the_own_disk_is_noticed_and_fetched_again(
    local: Store, server: RangeServer, quick: StreamSettings
) -> None:
    store = Store.open(server.url, streaming=quick)
    store.pixels([0])
    (block,) = (path for path in (quick.folder / "films").iterdir() if path.is_file())
    block.write_bytes(bytes(BLOCK_BYTES))
    (store.path / "studies-00000.arrow").write_bytes(b"")
    again = Store.open(server.url, streaming=quick)
    assert np.array_equal(again.pixels([0]), local.pixels([0]))
    assert again.report(3) == local.report(3)


def test_the_cache_stays_below_its_bound_and_keeps_what_was_used_last(
    local: Store, server: RangeServer, quick: StreamSettings
) -> None:
    most = 2.5 * BLOCK_BYTES + table_bytes(local.manifest)
    bounded = quick.model_copy(update={"cache_gb": most / 1e9, "connections": 1})
    store = Store.open(server.url, streaming=bounded)
    for row in (0, 64, 0, 128, 0):  # blocks 0 1 0 2 0: the second is thrown away for the third
        assert np.array_equal(store.pixels([row]), local.pixels([row]))
        assert kept_bytes(bounded) <= 2.5 * BLOCK_BYTES
    assert len(server.films()) == 3
    assert np.array_equal(store.pixels(np.arange(300)), local.pixels(np.arange(300)))
    assert kept_bytes(bounded) <= 2.5 * BLOCK_BYTES


def test_a_cache_that_is_too_small_is_refused_with_what_would_do(
    local: Store, server: RangeServer, quick: StreamSettings
) -> None:
    tiny = quick.model_copy(update={"cache_gb": (0.5 * BLOCK_BYTES + table_bytes(local.manifest)) / 1e9})
    store = Store.open(server.url, streaming=tiny)
    with pytest.raises(ConfigError, match=r"do not hold .* and one block of 1.64e-05 GB"):
        store.pixels([0])
    assert store.streamed is not None
    with pytest.raises(ConfigError, match=r"cache_gb.* GB of tables and the 3.28e-05 GB of films.*data.order"):
        store.streamed.require_room(2)


def dropped(request: Request, answer: Answer) -> Answer | None:
    return None


def failing(request: Request, answer: Answer) -> Answer:
    return Answer(b"out of order", status=500)


def overloaded(request: Request, answer: Answer) -> Answer:
    return Answer(b"come again", status=503)


def cut_short(request: Request, answer: Answer) -> Answer:
    return Answer(answer.content, answer.status, cut=len(answer.content) // 2)


def shorter(request: Request, answer: Answer) -> Answer:
    return Answer(answer.content[:-1], answer.status)


def without_ranges(request: Request, answer: Answer) -> Answer:
    return Answer(answer.content * 2, 200)


def flipped(request: Request, answer: Answer) -> Answer:
    return Answer(answer.content[:-1] + bytes([answer.content[-1] ^ 1]), answer.status)


FAULTS: dict[Callable[[Request, Answer], Answer | None], str] = {
    dropped: "Server",
    failing: "500",
    overloaded: "503",
    cut_short: "Payload",
    shorter: "16383 bytes came",
    without_ranges: "32768 bytes came, as from a server that does not answer requests for ranges",
    flipped: "other bytes came than were written",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_passing_fault_is_overcome(
    local: Store, server: RangeServer, quick: StreamSettings, fault: Callable[[Request, Answer], Answer | None]
) -> None:
    server.fault = lambda request, answer: (
        fault(request, answer) if request.number < 3 and request.name != "manifest.json" else answer
    )
    store = Store.open(server.url, streaming=quick)
    assert np.array_equal(store.pixels(np.arange(300)), local.pixels(np.arange(300)))
    assert len(server.films()) == 3 * BLOCKS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_lasting_fault_names_address_bytes_reason_and_remedy(
    local: Store, server: RangeServer, quick: StreamSettings, fault: Callable[[Request, Answer], Answer | None]
) -> None:
    store = Store.open(server.url, streaming=quick)
    server.fault = fault
    with pytest.raises(StoreError) as caught:
        store.pixels([70])
    assert str(caught.value).startswith(f"{server.url}/films-00000.arrow: bytes ")
    assert "could not be read in 3 attempts" in str(caught.value)
    assert FAULTS[fault] in str(caught.value)
    assert "Check the network" in str(caught.value)
    assert len(server.films()) == (6 if fault is dropped else 3)  # aiohttp asks once more where nothing came
    assert kept_bytes(quick) == 0


def test_a_silent_server_is_given_up(server: RangeServer, quick: StreamSettings) -> None:
    impatient = quick.model_copy(update={"timeout_seconds": 0.05, "attempts": 2})
    server.latency = 0.5
    with pytest.raises(StoreError, match=r"manifest.json: it could not be read in 2 attempts; the last time: .*imeout"):
        Store.open(server.url, streaming=impatient)


def test_what_stays_wrong_is_not_asked_for_again(server: RangeServer, quick: StreamSettings) -> None:
    with pytest.raises(StoreError, match=r"nowhere/manifest.json: cannot be read: FileNotFoundError.*Give the URL"):
        Store.open(f"{server.url}/nowhere", streaming=quick)
    server.fault = lambda request, answer: Answer(b"", status=403)
    with pytest.raises(StoreError, match="403"):
        Store.open(server.url, streaming=quick)
    assert len(server.requests) == 1


def test_a_store_without_index_says_what_to_do(tmp_path: Path, quick: StreamSettings) -> None:
    prepare_store(MemorySource([make_study(1)]), tmp_path / "store", PrepareConfig(size=16), workers=1)
    with (
        RangeServer(tmp_path / "store") as server,
        pytest.raises(StoreError, match=r"no index of its films.*crossray data streamable STORE"),
    ):
        Store.open(server.url, streaming=quick)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nothing-knows-this://bucket/store", "cannot be read: Protocol not known"),
        ("simplecache::http://host/store", "not the plain address"),
        ("http://host/store?token=1", "not the plain address"),
    ],
)
def test_addresses_that_cannot_be_read_are_refused(url: str, said: str, quick: StreamSettings) -> None:
    with pytest.raises(CrossRayError, match=said):
        Store.open(url, streaming=quick)


def test_what_keeps_s3_from_asking_is_told_as_a_failure(quick: StreamSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        pass

    def ask(*arguments: object) -> bytes:
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setitem(sys.modules, "botocore", ModuleType("botocore"))
    monkeypatch.setitem(sys.modules, "botocore.exceptions", exceptions := ModuleType("botocore.exceptions"))
    monkeypatch.setattr(exceptions, "BotoCoreError", NoCredentialsError, raising=False)
    monkeypatch.setattr(RemoteFolder, "_attempt", ask)
    with pytest.raises(StoreError, match=r"s3://films/store/manifest\.json.*Unable to locate credentials"):
        Store.open("s3://films/store", streaming=quick)


SHA256 = "0" * 64


@pytest.mark.parametrize(
    "blocks",
    [
        [],
        {},
        {"offsets": 0, "sha256": SHA256},
        {"offsets": [0, 0], "sha256": [SHA256, SHA256]},
        {"offsets": [-1], "sha256": [SHA256]},
        {"offsets": ["0"], "sha256": [SHA256]},
        {"offsets": [2**63], "sha256": [SHA256]},
        {"offsets": [0], "sha256": [7]},
        {"offsets": [0], "sha256": ["../../somebody/elses/file"]},
    ],
)
def test_an_index_that_does_not_say_where_its_block_lies_is_refused(local: Store, blocks: Any) -> None:
    content = (local.path / "films-00002.index").read_bytes()
    with pa.ipc.open_stream(content) as reader:
        table = reader.read_all().replace_schema_metadata({"blocks": json.dumps(blocks)})
    with pytest.raises(StoreError, match=r"a\.index: does not say where each block"):
        indexed_shard(pa.py_buffer(content), table, SIZE, "films-00002.arrow", Path("a.index"))


@pytest.mark.parametrize("name", ["../escaped", "..", "", ".hidden", "a/b", "a\0b", "origin.json", "manifest.json"])
def test_a_manifest_on_a_server_writes_no_file_that_is_none_of_a_store(
    local: Store, tmp_path: Path, quick: StreamSettings, name: str
) -> None:
    copy = tmp_path / "store"
    shutil.copytree(local.path, copy)
    files = {**local.manifest.files, name: FileEntry(SHA256, 1)}
    write_sealed_json(
        copy / "manifest.json", local.manifest.model_copy(update={"files": files}).model_dump(mode="json")
    )
    with RangeServer(copy) as server:
        with pytest.raises(StoreError, match="names a file that is none of a store"):
            Store.open(server.url, streaming=quick)
        assert {request.name for request in server.requests} == {"manifest.json"}


def test_a_cache_that_is_made_is_open_to_its_user_alone_and_one_that_is_there_stays_as_it_is(
    server: RangeServer, quick: StreamSettings, tmp_path: Path
) -> None:
    Store.open(server.url, streaming=quick)
    assert quick.folder.stat().st_mode & 0o777 == 0o700
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    Store.open(server.url, streaming=quick.model_copy(update={"cache": str(shared)}))
    assert shared.stat().st_mode & 0o777 == 0o770


def test_a_cache_that_breaks_is_told_by_name(server: RangeServer, quick: StreamSettings) -> None:
    store = Store.open(server.url, streaming=quick)
    shutil.rmtree(quick.folder / "films" / "locks")
    (quick.folder / "films" / "locks").write_bytes(b"")
    with pytest.raises(StoreError, match=r"films/locks.*cannot be written"):
        store.pixels([0])
    (store.path / "origin.json").write_text("[]")
    with pytest.raises(StoreError, match=r"origin\.json: cannot be read.*by its URL again"):
        Store.open(store.path, streaming=quick)


def test_a_file_that_came_with_a_store_makes_nobody_ask_a_server(
    local: Store, server: RangeServer, tmp_path: Path
) -> None:
    copy = tmp_path / "stores" / local.path.name
    shutil.copytree(local.path, copy)
    (copy / "origin.json").write_text(json.dumps({"url": server.url}))
    store = Store.open(copy)
    assert store.streamed is None
    assert np.array_equal(store.pixels([0]), local.pixels([0]))
    with pytest.raises(StoreError, match=r"do not belong to the store, for example 'origin\.json'"):
        verify_store(copy)
    assert not server.requests


@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_other_protocols_are_read_in_the_same_way(local: Store, quick: StreamSettings, protocol: str) -> None:
    fsspec = pytest.importorskip("fsspec")
    url = f"file://{local.path}"
    if protocol == "memory":
        url = "memory://bucket/store"
        filesystem = fsspec.filesystem("memory")
        for path in local.path.iterdir():
            filesystem.pipe_file(f"/bucket/store/{path.name}", path.read_bytes())
    store = Store.open(url, streaming=quick)
    assert np.array_equal(store.pixels([5, 290, 66]), local.pixels([5, 290, 66]))
    assert store.streamed is not None


def test_a_store_that_is_another_now_is_opened_as_that(tmp_path: Path, quick: StreamSettings) -> None:
    for count in (3, 4):
        source = MemorySource([make_study(n) for n in range(count)], version=str(count))
        prepare_store(source, tmp_path / "s", PrepareConfig(size=16), workers=1)
        make_streamable(tmp_path / "s")
        with RangeServer(tmp_path / "s") as server:
            store = Store.open(server.url, streaming=quick)
            assert len(store) == count
            assert np.array_equal(store.pixels([count - 1]), Store.open(tmp_path / "s").pixels([count - 1]))


def read_in_child(store: Store, rows: list[int], answers: multiprocessing.SimpleQueue[str]) -> None:
    answers.put(hashlib.sha256(store.pixels(rows).tobytes()).hexdigest())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_it_too_and_fetch_a_block_once(
    local: Store, server: RangeServer, quick: StreamSettings, method: str
) -> None:
    store = Store.open(server.url, streaming=quick)
    store.pixels([0])
    context: Any = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    rows = [0, 70, 299]
    workers = [context.Process(target=read_in_child, args=(store, rows, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    expected = hashlib.sha256(local.pixels(rows).tobytes()).hexdigest()
    assert [answers.get(), answers.get()] == [expected, expected]
    assert len(server.films()) == 3
    assert np.array_equal(store.pixels([140]), local.pixels([140]))


def test_an_opened_store_travels_with_its_settings(server: RangeServer, quick: StreamSettings) -> None:
    store = Store.open(server.url, streaming=quick)
    other = pickle.loads(pickle.dumps(store))
    assert other.streamed is not None
    assert other.streamed.settings == quick
    assert [request.name for request in server.requests].count("manifest.json") == 2


def test_verifying_an_address_reads_every_byte_there_and_keeps_no_film(
    local: Store, server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSRAY_CACHE", str(tmp_path / "cache"))
    assert verify_store(server.url).files == len(local.manifest.files)
    assert sum(request.end - request.start for request in server.films()) == sum(
        (local.path / f"films-0000{shard}.arrow").stat().st_size for shard in range(3)
    )
    assert not any(path.is_file() for path in (tmp_path / "cache" / "films").iterdir())
    server.fault = lambda request, answer: flipped(request, answer) if request.name == "films-00001.arrow" else answer
    with pytest.raises(StoreError, match=r"films-00001.arrow: was altered at http.*films of 64 studies: s64, s65"):
        verify_store(server.url)
    assert len(open_whole(server.url)) == STUDIES  # films are checked as they come


def test_commands_take_an_address(
    local: Store, server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSRAY_CACHE", str(tmp_path / "cache"))
    for command, said in (
        (["data", "describe", server.url], "films: 300 (150 frontal, 150 lateral)"),
        (["data", "verify", server.url], f"{server.url} is whole"),
        (["verify", server.url], "(store) is whole"),
        (["data", "streamable", str(local.path)], "3 shards have an index"),
    ):
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == 0
        assert said in result.output
    monkeypatch.setenv("CROSSRAY_CACHE_GB", "much")
    with pytest.raises(ConfigError, match="CROSSRAY_CACHE_GB"):
        CliRunner().invoke(app, ["data", "describe", server.url], catch_exceptions=False)
