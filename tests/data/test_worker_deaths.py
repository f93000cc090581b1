"""A killed data worker is told once, where a batch is waited for, and nothing is raised anywhere else."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

import pytest
from torch.utils.data import DataLoader, Dataset

from crossray.data.worker_deaths import batches_of
from crossray.errors import DataError

TOLD = r"runtime\.workers.*was killed.*goes on from what was saved"


class Numbers(Dataset[int]):
    """Its own index; the worker that is asked for ``deadly`` is killed."""

    def __init__(self, deadly: int = -1) -> None:
        self.deadly = deadly

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


def loader_of(dataset: Numbers, workers: int = 1) -> DataLoader[int]:
    return DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=2)


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Errors in destructors, which Python prints as stack traces."""
    found: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: found.append(error.exc_value))
    before = signal.getsignal(signal.SIGCHLD)
    yield found
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_killed_while_its_batch_is_waited_for_is_told(unraisable: list[object], workers: int) -> None:
    found: list[int] = []
    with pytest.raises(DataError, match=TOLD):
        found.extend(batches_of(loader_of(Numbers(deadly=9), workers)))
    assert found == list(range(len(found)))
    gc.collect()
    assert not unraisable


def test_a_death_between_two_batches_is_told_at_the_next_and_not_before(unraisable: list[object]) -> None:
    batches = batches_of(loader_of(Numbers()))
    assert next(batches) == 0
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    time.sleep(0.05)  # SIGCHLD comes here
    with pytest.raises(DataError, match=TOLD):
        list(batches)
    gc.collect()
    assert not unraisable


def test_a_report_that_comes_after_a_broken_connection_raises_nothing_more(unraisable: list[object]) -> None:
    reports: list[int] = []

    def late(number: int, frame: FrameType | None) -> None:
        reports.append(number)
        if len(reports) == 3:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    def broken() -> Iterator[int]:
        signal.signal(signal.SIGCHLD, late)
        yield 1
        raise ConnectionResetError

    class Loader:
        def __iter__(self) -> Iterator[int]:
            batches = broken()
            assert next(batches) == 1
            return batches

    with pytest.raises(DataError, match=TOLD):
        list(batches_of(Loader()))
    assert len(reports) == 3
    assert signal.getsignal(signal.SIGCHLD) is late


def test_the_handler_that_was_there_is_put_back_and_other_errors_are_left_alone(unraisable: list[object]) -> None:
    assert list(batches_of(loader_of(Numbers()))) == list(range(40))
    torchs = signal.getsignal(signal.SIGCHLD)
    assert list(batches_of(loader_of(Numbers()))) == list(range(40))
    assert signal.getsignal(signal.SIGCHLD) is torchs

    class Failing:
        def __iter__(self) -> Iterator[int]:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        list(batches_of(Failing()))
