"""Stores in object storage: s3fs asks a server of S3's requests, which here is the small one of the other tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from benchmarks.streaming.server import Answer, RangeServer, Request

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.store import Store
from crossray.data.streaming.settings import StreamSettings
from crossray.data.streaming.streamable import make_streamable
from crossray.errors import StoreError
from tests.data.studies import MemorySource, make_study

SECRET = "tr0ub4dor/tr0ub4dor"
URL = "s3://films/store"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("s3")
    source = MemorySource([make_study(number) for number in range(80)])
    prepare_store(source, home / "films" / "store", PrepareConfig(size=16), workers=1)
    make_streamable(home / "films" / "store")
    return home


@pytest.fixture
def server(bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RangeServer]:
    def signed(headers: object) -> bool:
        return "Credential=READER/" in str(headers)

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "READER",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with RangeServer(bucket, admits=signed) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        yield running


@pytest.fixture
def quick(tmp_path: Path) -> StreamSettings:
    return StreamSettings(cache=str(tmp_path / "cache"), retry_seconds=0.001, timeout_seconds=5.0, attempts=2)


def test_a_store_in_object_storage_answers_like_the_one_on_the_disk(
    bucket: Path, server: RangeServer, quick: StreamSettings
) -> None:
    local, store = Store.open(bucket / "films" / "store"), Store.open(URL, streaming=quick)
    assert (store.hash, store.study_ids) == (local.hash, local.study_ids)
    assert not server.films()
    rows = [3, 79, 64, 0]
    assert np.array_equal(store.pixels(rows), local.pixels(rows))
    assert sorted((request.name, request.end - request.start) for request in server.films()) == [
        ("films-00000.arrow", 64 * 256),
        ("films-00001.arrow", 16 * 256),
    ]


def s3_error(code: str, status: int) -> Answer:
    return Answer(f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), status)


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("AccessDenied", 403, r"films-00000\.arrow: cannot be read: PermissionError.*may read it"),
        ("NoSuchKey", 404, r"films-00000\.arrow: cannot be read: FileNotFoundError"),
        ("SlowDown", 503, r"films-00000\.arrow: bytes \d+ to \d+ could not be read in 1 attempts"),
    ],
)
def test_what_object_storage_refuses_is_told_without_a_key(
    server: RangeServer, quick: StreamSettings, code: str, status: int, told: str
) -> None:
    once = quick.model_copy(update={"attempts": 1})  # of ours; s3fs tries several times for each
    store = Store.open(URL, streaming=once)
    server.fault = lambda request, answer: s3_error(code, status)
    with pytest.raises(StoreError, match=told) as caught:
        store.pixels([0])
    assert SECRET not in str(caught.value)


def test_wrong_keys_and_no_keys_are_told(
    server: RangeServer, quick: StreamSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "STRANGER")
    with pytest.raises(StoreError, match=r"s3://films/store/manifest\.json: "):
        Store.open(URL, streaming=quick)
    assert not server.requests


@pytest.mark.parametrize("cut", [True, False], ids=["half-way", "altered"])
def test_a_passing_fault_of_object_storage_is_overcome(
    bucket: Path, server: RangeServer, quick: StreamSettings, cut: bool
) -> None:
    def broken(request: Request, answer: Answer) -> Answer:
        if request.number > 1 or not re.match("films.*arrow", request.name):
            return answer
        if cut:
            return Answer(answer.content, answer.status, cut=100)
        return Answer(bytes(len(answer.content)), answer.status)

    server.fault = broken
    store = Store.open(URL, streaming=quick)
    assert np.array_equal(store.pixels([0, 70]), Store.open(bucket / "films" / "store").pixels([0, 70]))


def test_object_storage_that_does_not_know_ranges_is_told_when_the_store_is_opened(
    server: RangeServer, quick: StreamSettings
) -> None:
    server.fault = lambda request, answer: Answer((server.folder / "films/store" / request.name).read_bytes(), 200)
    with pytest.raises(StoreError, match=r"manifest\.json: bytes 1 to 1 .*\d+ bytes came"):
        Store.open(URL, streaming=quick)
