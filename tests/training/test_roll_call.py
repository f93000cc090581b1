"""Who is missing: asked in the store at which processes met, also if that does not answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, yet not marked as exported

from crossray.training.roll_call import missing_from


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
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    return store


def test_who_does_not_call_is_missing(store: TCPStore) -> None:
    assert missing_from(2, 4, 0.3) == [0, 1, 3]
    assert missing_from(1, 4, 0.3) == [0, 3]
    assert missing_from(0, 3, 20.0) == []


def test_calls_of_before_a_restart_do_not_count(store: TCPStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_from(0, 2, 0.3) == [1]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert missing_from(1, 2, 0.3) == [0]


def test_a_store_that_does_not_answer_is_the_first_processs_fault_unless_torchrun_keeps_it(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing_from(2, 3, 0.3) == [0]
    assert missing_from(0, 3, 0.3) == []
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert missing_from(2, 3, 0.3) == []
