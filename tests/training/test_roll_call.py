"""Who is missing, and what a meeting is called: in a store that may be gone, or remember earlier meetings."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, yet not marked as exported

from crossray.errors import LostProcessError
from crossray.training import roll_call
from crossray.training.meeting import agree_on_name, launchers_store, meet
from crossray.training.roll_call import missing_from, seen_from_here

FOUR = [f"host a, process id {number}" for number in range(4)]
SOON = timedelta(seconds=20)


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A place to meet that takes connections and never answers."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        place.listen()
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(place.getsockname()[1]))
        monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
        yield place


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> TCPStore:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=20))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    return store


def test_who_does_not_call_is_missing(store: TCPStore) -> None:
    assert missing_from(2, FOUR, 0.3) == [0, 1, 3]
    assert missing_from(1, FOUR, 0.3) == [0, 3]
    assert missing_from(0, FOUR[:1], 20.0) == []


def test_calls_of_before_a_restart_do_not_count(store: TCPStore) -> None:
    assert missing_from(0, ["host a, process id 1", "host a, process id 2"], 0.3) == [1]
    assert missing_from(1, ["host a, process id 3", "host a, process id 4"], 0.3) == [0]


def test_a_meeting_gets_a_name_of_its_own_in_a_store_with_traces_of_earlier_ones(store: TCPStore) -> None:
    def names() -> set[str]:
        with ThreadPoolExecutor(3) as pool:
            ranks = (1, 2, 0)
            return set(pool.map(lambda rank: agree_on_name(launchers_store(SOON), rank, 3, SOON), ranks))

    (first,) = names()
    (second,) = names()
    assert first != second


def test_a_store_of_torchrun_that_is_not_reached_is_told_in_words(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    listening.close()
    with pytest.raises(LostProcessError, match=f"127.0.0.1:{port} is not reached .*torchrun runs on the first host"):
        meet("gloo", 1, 2, SOON, torch.device("cpu"))


def test_who_does_not_come_to_a_meeting_is_named(store: TCPStore) -> None:
    store.set("crossray/arrived/1", "of before")
    with pytest.raises(LostProcessError, match="process 2 and process 3 of 3 did not come"):
        agree_on_name(store, 0, 3, timedelta(seconds=0.2))


def test_a_store_that_does_not_answer_is_the_first_processs_fault_unless_torchrun_keeps_it(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing_from(2, FOUR, 0.3) == [0]
    assert missing_from(0, FOUR, 0.3) == []
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert missing_from(2, FOUR, 0.3) == []


def place_of(process: int) -> str:
    return f"host {socket.gethostname()}, process id {process}"


def test_a_process_of_this_host_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll_call, "_WATCHED_SECONDS", 0.5)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        # More than once: on a loaded machine it may not have got its turn.
        assert any(seen_from_here(place_of(busy.pid)) == "it computes: it may only be slow" for _ in range(20))
        busy.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, busy.pid, os.WSTOPPED)
        assert seen_from_here(place_of(busy.pid)) == "it is stopped, as by SIGSTOP or a debugger"
        busy.kill()
        os.waitid(os.P_PID, busy.pid, os.WEXITED | os.WNOWAIT)
        assert seen_from_here(place_of(busy.pid)) == "it is gone"
    with subprocess.Popen(["sleep", "600"]) as idle:
        assert any("it waits" in seen_from_here(place_of(idle.pid)) for _ in range(20))
        idle.kill()
    assert seen_from_here("host elsewhere, process id 1") == ""
