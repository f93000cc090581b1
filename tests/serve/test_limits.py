"""What one visitor can take from the others: uploads at once, films in memory, a decoder that hangs or dies."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import numpy as np
import pytest
from benchmarks.viewer.server import Visitor, running_server
from numpy.typing import NDArray

from crossray.errors import ConfigError
from crossray.methods.clip import ClipConfig
from crossray.serve.app import Desk
from crossray.serve.decoder import Decoder
from crossray.serve.limits import Limits, UploadError
from crossray.serve.run_server import ServeConfig, serve
from crossray.serve.shelf import FilmShelf, UnknownFilmError
from tests.inference.test_joint_model import write_run

from .browser import served
from .conftest import png


def test_uploads_wait_their_turn_without_keeping_others_waiting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    crowded = Desk(desk.runs, Limits(uploads=2))
    at_work: list[int] = []
    most: list[int] = []
    go_on = Event()

    def decode(_: bytes) -> NDArray[np.uint8]:
        at_work.append(1)
        most.append(len(at_work))
        assert go_on.wait(60)
        at_work.pop()
        return np.zeros((8, 8), np.uint8)

    monkeypatch.setattr(crowded.decoder, "decode", decode)
    with served(crowded) as address, ThreadPoolExecutor(50) as visitors:
        uploads = [visitors.submit(httpx.post, f"{address}api/film", content=png(), timeout=60) for _ in range(50)]
        assert httpx.get(f"{address}api/health", timeout=60).status_code == 200
        go_on.set()
        assert {upload.result().status_code for upload in uploads} == {201}
    assert len(most) == 50
    assert max(most) <= 2


def test_an_address_that_is_taken_is_refused_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = ServeConfig(run=Path("nowhere"), port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"Choose another --port"):
            serve(config)


def test_a_run_is_served_once_it_is_said_to_be_ready(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ClipConfig())
    with running_server(run, tmp_path / "log") as server:
        assert Visitor(server.port).ask("GET", "/api/about").json["runs"][0]["method"] == "clip"
        said = server.log.read_text()
    assert f"CrossRay on http://127.0.0.1:{server.port}/" in said
    assert "Research only, not for diagnosis" in said
    assert "Traceback" not in server.log.read_text()


def test_films_are_held_so_many_and_so_long() -> None:
    now = [0.0]
    shelf = FilmShelf(Limits(films=2, film_seconds=10), clock=lambda: now[0])
    handles = [shelf.put(np.zeros((2, 2), np.uint8)) for _ in range(3)]
    with pytest.raises(UnknownFilmError):
        shelf.get(handles[0])
    now[0] = 9.0
    shelf.get(handles[1])
    now[0] = 11.0
    assert len(shelf) == 1
    with pytest.raises(UnknownFilmError):
        shelf.get(handles[2])


def test_films_are_held_up_to_so_many_bytes_and_the_newest_always() -> None:
    shelf = FilmShelf(Limits(films_bytes=100))
    handles = [shelf.put(np.zeros((6, 8), np.uint8)) for _ in range(3)]
    assert len(shelf) == 2
    with pytest.raises(UnknownFilmError):
        shelf.get(handles[0])
    vast = shelf.put(np.zeros((20, 20), np.uint8))
    assert len(shelf) == 1
    assert shelf.get(vast).pixels.shape == (20, 20)


def test_a_decoder_that_hangs_or_dies_is_replaced() -> None:
    decoder = Decoder(Limits(decode_seconds=0.5))
    assert decoder.decode(png()).shape == (90, 70)
    process = decoder._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(UploadError, match="took too long"):
        decoder.decode(png())
    assert time.monotonic() - started < 30
    decoder.decode(png())
    assert decoder._process is not None
    os.kill(decoder._process.pid, signal.SIGKILL)
    decoder._process.wait()
    with pytest.raises(UploadError, match="gave up"):
        decoder.decode(png())
    assert decoder.decode(png()).shape == (90, 70)
    assert decoder.starts == 3
    decoder.close()
