"""Shards made side by side in fresh processes, with one progress bar over all of their films."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_process
from multiprocessing.sharedctypes import Synchronized

from crossray.data.shards import ShardJob, ShardOutcome, make_shard
from crossray.errors import StoreError

_SECONDS_BETWEEN_LOOKS = 0.2

_films_done: Synchronized[int] | None = None


def available_cores() -> int:
    """Cores that this process may use."""
    # A container may own fewer cores than the machine has; where that can be asked, it is what counts.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_shards(jobs: Sequence[ShardJob], workers: int, show: Callable[[int], None]) -> list[ShardOutcome]:
    """Make every shard; ``show`` is told now and then how many films are done in all.

    With one worker, or one job, everything happens in this process.

    Raises:
        StoreError: the disk is full or read-only, or a worker was killed. Finished shards are kept.
    """
    if min(workers, len(jobs)) <= 1:
        return _one_by_one(jobs, show)
    # Spawned, not forked: threads of Arrow or torch in the parent would deadlock a forked child.
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=_start_worker, initargs=(counter,))
    try:
        return _side_by_side(pool, jobs, 2 * workers, lambda: show(counter.value))
    except BrokenProcessPool as error:
        raise StoreError(
            "a worker process was killed, perhaps for want of memory.",
            remedy="Run the command again with fewer --workers: finished parts are kept.",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_by_one(jobs: Sequence[ShardJob], show: Callable[[int], None]) -> list[ShardOutcome]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        show(done)

    return [make_shard(job, tick) for job in jobs]


def _side_by_side(
    pool: ProcessPoolExecutor, jobs: Sequence[ShardJob], most_at_once: int, look: Callable[[], None]
) -> list[ShardOutcome]:
    waiting = deque(enumerate(jobs))
    running: dict[Future[ShardOutcome], int] = {}
    outcomes: dict[int, ShardOutcome] = {}
    while waiting or running:
        while waiting and len(running) < most_at_once:  # not all at once: reports of a large source fill memory
            place, job = waiting.popleft()
            # Pickled here and not by the pool: it hangs on a study that cannot be pickled, this raises.
            running[_submit(pool, pickle.dumps(job))] = place
        finished, _ = wait(running, timeout=_SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)
        look()
        for future in finished:
            outcomes[running.pop(future)] = future.result()  # the first failure ends the run
    return [outcomes[place] for place in range(len(jobs))]


def _submit(pool: ProcessPoolExecutor, pickled_job: bytes) -> Future[ShardOutcome]:
    try:
        return pool.submit(_make_in_worker, pickled_job)
    except OSError:
        # Perhaps a worker died while this one was being started, and the pool closed what it needs: then it is broken,
        # and says so when it is asked once more.
        pool.submit(int)
        raise


def _start_worker(counter: Synchronized[int]) -> None:
    global _films_done
    _films_done = counter
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # After kill -9 of the parent nobody reads the workers' queue: without this they would wait for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_process([parent.sentinel])
        os._exit(1)


def _make_in_worker(pickled_job: bytes) -> ShardOutcome:
    job: ShardJob = pickle.loads(pickled_job)
    return make_shard(job, _count_film)


def _count_film() -> None:
    if _films_done is not None:
        with _films_done.get_lock():
            _films_done.value += 1
