"""What one visitor can take from the others: uploads at once, films in memory, a decoder that hangs or dies."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from crossray.serve.app import Desk
from crossray.serve.decoder import Decoder
from crossray.serve.limits import Limits, UploadError
from crossray.serve.shelf import FilmShelf, UnknownFilmError

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
