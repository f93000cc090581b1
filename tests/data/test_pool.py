"""What a pool of workers says when one of them dies at the worst moment."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from crossray.data import pool
from crossray.data.pool import make_shards
from crossray.data.shards import ShardJob
from crossray.errors import StoreError

JOBS = [ShardJob(index, Path("nowhere"), (), 16, "source", ()) for index in range(2)]


class Closing(ProcessPoolExecutor):
    """As if a worker had died while another was being started; or as if none could be started at all."""

    broken = True
    asked = 0

    def submit(self, *arguments: Any, **named: Any) -> Any:
        self.asked += 1
        if self.asked == 2 and self.broken:
            raise BrokenProcessPool
        raise OSError("handle is closed" if self.broken else "no more processes")


def test_a_worker_that_dies_while_another_is_started_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ProcessPoolExecutor", Closing)
    with pytest.raises(StoreError, match=r"a worker process was killed.*finished parts are kept"):
        make_shards(JOBS, 2, lambda done: None)


def test_another_failure_to_start_a_worker_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ProcessPoolExecutor", Closing)
    monkeypatch.setattr(Closing, "broken", False)
    with pytest.raises(OSError, match="no more processes"):
        make_shards(JOBS, 2, lambda done: None)
