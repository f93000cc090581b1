"""Stores on web servers of hospitals: behind a proxy, with a password, on servers that do not know ranges."""

from __future__ import annotations

import base64
import logging
import shutil
import traceback
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
import pytest
from benchmarks.streaming.server import Answer, RangeServer
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.store import Store
from crossray.data.streaming.remote import RemoteFolder, without_secrets
from crossray.data.streaming.settings import StreamSettings
from crossray.data.streaming.streamable import make_streamable
from crossray.errors import ConfigError, CrossRayError, StoreError
from tests.data.studies import MemorySource, make_study

SECRET = "tr0ub4dor"
NETRC = f"machine 127.0.0.1 login reader password {SECRET}\n"
MEGABYTE = 1_000_000
RECIPE = Path(__file__).parents[2] / "recipes" / "cpu" / "convirt_iu.yaml"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("http") / "store"
    prepare_store(MemorySource([make_study(n) for n in range(80)]), folder, PrepareConfig(size=16), workers=1)
    make_streamable(folder)
    return folder


@pytest.fixture
def server(prepared: Path) -> Iterator[RangeServer]:
    with RangeServer(prepared) as running:
        yield running


@pytest.fixture
def quick(tmp_path: Path) -> StreamSettings:
    return StreamSettings(cache=str(tmp_path / "cache"), retry_seconds=0.001, timeout_seconds=5.0, attempts=2)


def written_netrc(folder: Path, monkeypatch: pytest.MonkeyPatch, content: str = NETRC) -> Path:
    file = folder / "passwords"
    file.write_text(content)
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    return file


class _Endless(BaseHTTPRequestHandler):
    """Answers whatever is asked for with up to a gigabyte, and counts what the other side took."""

    protocol_version = "HTTP/1.1"
    status, told_length, sent = 200, False, 0

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header(*(("Content-Length", str(1000 * MEGABYTE)) if self.told_length else ("Connection", "close")))
        self.end_headers()
        try:
            for _ in range(1000):
                self.wfile.write(bytes(MEGABYTE))
                type(self).sent += MEGABYTE
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("told_length", [True, False], ids=["length told", "length not told"])
@pytest.mark.parametrize("asked", [(0, 5 * MEGABYTE), (7, 5 * MEGABYTE), (0, None)], ids=["first", "later", "all"])
def test_no_more_is_read_than_was_asked_for_whatever_is_sent(
    quick: StreamSettings, asked: tuple[int, int | None], told_length: bool, status: int
) -> None:
    handler: type[_Endless] = type("Handler", (_Endless,), {"status": status, "told_length": told_length})
    endless = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    endless.daemon_threads = True
    Thread(target=endless.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    folder = RemoteFolder(f"http://127.0.0.1:{endless.server_address[1]}", quick.model_copy(update={"attempts": 1}))
    with pytest.raises(StoreError):
        folder.read("manifest.json", *asked)  # what is imported for it is not counted below
    handler.sent = 0
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="came, as from a server that does not answer requests for ranges of"):
            folder.read("manifest.json", *asked)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        endless.shutdown()
        endless.server_close()
    read_at_all = not told_length and (status == 206 or not asked[0])
    wanted = 0 if not read_at_all else asked[1] or 64 * MEGABYTE
    assert held < wanted + 3 * MEGABYTE
    assert handler.sent < wanted + 40 * MEGABYTE  # the rest lies in buffers of the operating system


def test_a_server_without_ranges_is_told_when_the_store_is_opened(server: RangeServer, quick: StreamSettings) -> None:
    server.fault = lambda request, answer: Answer((server.folder / request.name).read_bytes(), 200)
    with pytest.raises(StoreError, match=r"manifest\.json: bytes 1 to 1 .*\d+ bytes came, as from a server that does"):
        Store.open(server.url, streaming=quick)
    assert {request.name for request in server.requests} == {"manifest.json"}


def with_password(request_headers: Any) -> bool:
    scheme, _, token = str(request_headers.get("Authorization", "")).partition(" ")
    return scheme == "Basic" and base64.b64decode(token).decode() == f"reader:{SECRET}"


def test_a_password_comes_from_netrc_and_is_asked_for_in_words(
    prepared: Path, server: RangeServer, quick: StreamSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.admits = with_password
    written_netrc(tmp_path, monkeypatch, "machine elsewhere.example login reader password x\n")
    with pytest.raises(StoreError, match=r"401.*into ~/\.netrc"):
        Store.open(server.url, streaming=quick)
    assert len(server.requests) == 0
    written_netrc(tmp_path, monkeypatch)
    found = Store.open(server.url, streaming=quick).pixels(np.arange(80))
    assert np.array_equal(found, Store.open(prepared).pixels(np.arange(80)))


@pytest.mark.parametrize(
    "content", [NETRC.replace("\n", " horse battery\n"), f"machine 127.0.0.1 logn {SECRET}\n", f"{SECRET} \udcff"]
)
def test_a_netrc_that_cannot_be_understood_is_told_without_its_words(
    server: RangeServer, quick: StreamSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    file = written_netrc(tmp_path, monkeypatch, "")
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"passwords: .*cannot be understood.*machine HOST login") as caught:
        Store.open(server.url, streaming=quick)
    assert not any(word in everything_told(caught.value) for word in (SECRET, "horse", "battery"))


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str]
    password: str | None = None

    def do_GET(self) -> None:
        expected = None if self.password is None else base64.b64encode(f"me:{self.password}".encode()).decode()
        if expected is not None and self.headers.get("Proxy-Authorization") != f"Basic {expected}":
            self.send_response(407)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.asked.append(self.path)
        # The name stands for the server: only the proxy knows where it is.
        there = self.path.replace("http://films.invalid", self.target)
        own = Request(there, headers={key: self.headers[key] for key in ("Range",) if key in self.headers})
        try:
            answer = build_opener(ProxyHandler({})).open(own)
        except HTTPError as error:
            answer = error
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    target: str

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def proxy(server: RangeServer) -> Iterator[tuple[type[_Proxy], str]]:
    handler: type[_Proxy] = type("Handler", (_Proxy,), {"asked": [], "target": server.url})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.daemon_threads = True
    Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield handler, f"127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def test_a_proxy_of_the_environment_is_used_and_its_password_told_to_nobody(
    prepared: Path,
    proxy: tuple[type[_Proxy], str],
    quick: StreamSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    handler, place = proxy
    handler.password = SECRET
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("http_proxy", f"http://me:{SECRET}x@{place}")
    with pytest.raises(StoreError, match=r"407.*HTTP_PROXY") as caught:
        Store.open("http://films.invalid", streaming=quick)
    assert SECRET not in everything_told(caught.value)
    monkeypatch.setenv("http_proxy", f"http://me:{SECRET}@{place}")
    store = Store.open("http://films.invalid", streaming=quick)
    assert np.array_equal(store.pixels([5, 70]), Store.open(prepared).pixels([5, 70]))
    assert "http://films.invalid/films-00000.arrow" in handler.asked
    assert SECRET not in caplog.text
    monkeypatch.setenv("NO_PROXY", "films.invalid")
    before = len(handler.asked)
    with pytest.raises(StoreError, match=r"ClientConnector(DNS)?Error"):
        Store.open("http://films.invalid", streaming=quick)
    assert len(handler.asked) == before


@pytest.mark.parametrize("proxy_url", [f"me:{SECRET}@127.0.0.1:1", f"http://me:{SECRET}@127.0.0.1:1", f"{SECRET}"])
def test_a_proxy_that_is_not_there_is_told_without_its_password(
    quick: StreamSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, proxy_url: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy_url)
    with pytest.raises(CrossRayError, match=r"http://films.invalid") as caught:
        Store.open("http://films.invalid", streaming=quick)
    assert SECRET not in everything_told(caught.value)
    assert SECRET not in caplog.text


def everything_told(error: BaseException) -> str:
    """What a message, a log with its traceback, and a report of the bare error would show."""
    return "".join(traceback.format_exception(error)) + repr(error)


@pytest.mark.parametrize(
    "secret_url",
    [
        f"http://me:{SECRET}@HOST",
        f"http://{SECRET}@HOST/store",
        f"http://me:{SECRET}/with@HOST/store",
        f"http://HOST/store?token={SECRET}",
        f"http://HOST/store#{SECRET}",
        f"simplecache::http://me:{SECRET}@HOST",
        f"s3://key:{SECRET}@bucket/store",
    ],
)
def test_an_address_with_a_secret_is_refused_before_anything_is_asked_or_written(
    server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    secret_url: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("CROSSRAY_CACHE", str(tmp_path / "cache"))
    url = secret_url.replace("HOST", server.url.removeprefix("http://"))
    for command in (
        ["data", "describe", url],
        ["data", "audit", url],
        ["verify", url],
        ["pretrain", str(RECIPE), "--out", str(tmp_path / "run"), f"data.store={url}"],
    ):
        result = CliRunner().invoke(app, command)
        assert isinstance(result.exception, ConfigError)
        assert SECRET not in everything_told(result.exception) + result.output + caplog.text
        assert "~/.netrc" in str(result.exception)
    assert not server.requests
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET in path.read_text(errors="replace") for path in written)


def test_no_secret_of_an_address_is_in_what_is_shown() -> None:
    shown = without_secrets(f"403, url='https://a:{SECRET}@host/x?sig={SECRET}', then http://h/y#{SECRET} and z?")
    assert shown == "403, url='https://host/x', then http://h/y and z?"


def test_a_server_that_dies_half_way_and_comes_back_gives_the_same_films(
    prepared: Path, tmp_path: Path, quick: StreamSettings
) -> None:
    with RangeServer(prepared) as server:
        store = Store.open(server.url, streaming=quick)
        first = store.pixels([0])
        port = int(server.url.rpartition(":")[2])
        server.fault = lambda request, answer: Answer(answer.content, answer.status, cut=100)
        with pytest.raises(StoreError, match=r"films-00001\.arrow: bytes .* 2 attempts.*Payload"):
            store.pixels([70])
    with pytest.raises(StoreError, match=r"films-00001\.arrow: bytes .*Check the network and the server"):
        store.pixels([70])
    with RangeServer(prepared, port=port):
        assert np.array_equal(store.pixels([0, 70]), Store.open(prepared).pixels([0, 70]))
        assert np.array_equal(store.pixels([0]), first)


def another_store(folder: Path) -> None:
    source = MemorySource([make_study(n) for n in range(100, 180)], version="2")
    prepare_store(source, folder, PrepareConfig(size=16), workers=1)
    make_streamable(folder)


def test_a_store_that_is_replaced_while_it_is_read_is_told_as_that(
    prepared: Path, tmp_path: Path, quick: StreamSettings
) -> None:
    served = tmp_path / "served"
    shutil.copytree(prepared, served)
    with RangeServer(served) as server:
        store = Store.open(server.url, streaming=quick)
        before = store.hash
        shutil.rmtree(served)
        another_store(served)
        after = Store.open(served).hash
        with pytest.raises(StoreError, match=rf"another store now \(hash {before[:12]} .*, {after[:12]} now\)"):
            store.pixels([0])
        again = Store.open(server.url, streaming=quick)
        assert again.hash == after
        assert np.array_equal(again.pixels([0]), Store.open(served).pixels([0]))


def test_a_store_that_is_replaced_while_it_is_opened_is_told_as_that(
    prepared: Path, tmp_path: Path, quick: StreamSettings
) -> None:
    served = tmp_path / "served"
    shutil.copytree(prepared, served)
    another_store(tmp_path / "other")
    stale = (prepared / "manifest.json").read_bytes()
    with RangeServer(tmp_path / "other") as server:
        server.fault = lambda request, answer: (
            Answer(stale, 200) if (request.name, request.start, request.number) == ("manifest.json", 0, 1) else answer
        )
        with pytest.raises(StoreError, match="another store now"):
            Store.open(server.url, streaming=quick)
        assert len(Store.open(server.url, streaming=quick)) == 80
