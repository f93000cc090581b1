"""Faults that a process does to itself, at a seeded place: the n-th operation on the disk, or a processor moment."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

#: Of the moments of a process, these share struck at operations on the disk; the rest by processor time.
_DISK_SHARE = 0.5
_FOR_EVER_SECONDS = 86400.0
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


@dataclass(frozen=True)
class Course:
    """How an undisturbed process went: its operations on the disk, and its seconds of processor time."""

    operations: int
    seconds: float


@dataclass(frozen=True)
class Moment:
    """When a fault strikes: before operation ``at`` on the disk, or after ``at`` seconds of processor time."""

    kind: Literal["operation", "second"]
    at: float

    def __str__(self) -> str:
        return f"operation {self.at:.0f}" if self.kind == "operation" else f"{self.at:.3f} s"


def draw_moment(rng: random.Random, course: Course) -> Moment:
    """Somewhere in the course of a process."""
    if rng.random() < _DISK_SHARE:
        return Moment("operation", rng.randrange(course.operations))
    return Moment("second", rng.uniform(0.02, 0.98) * course.seconds)


def count_operations(done: Callable[[int], None]) -> None:
    """Call ``done`` with the number of each operation that changes the working directory, before it is carried out."""
    count, home = 0, str(Path.cwd())

    def note() -> None:
        nonlocal count
        count += 1  # first: what a fault raises does operations of its own
        done(count - 1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            changes = bool(flags & _WRITES) if mode is None else bool(set(mode) & set("wax+"))
        else:
            path, changes = arguments[0] if arguments else None, event in _CHANGES
        if changes and isinstance(path, str | os.PathLike) and (Path(home) / path).is_relative_to(home):
            note()

    sync = os.fsync

    def fsync(fd: Any) -> None:
        note()
        sync(fd)
        note()  # a fault may strike between the sync and the rename that follows

    sys.addaudithook(hook)
    os.fsync = fsync


def arm(moment: Moment, strike: Callable[[], None]) -> None:
    """Let ``strike`` be called once, at the moment."""
    if moment.kind == "operation":
        count_operations(lambda number: strike() if number == moment.at else None)
        return
    # By default the kernel ends the process at once, in the middle of whatever it does; a handler waits for Python.
    signal.signal(signal.SIGPROF, signal.SIG_DFL if strike is kill else lambda number, frame: strike())
    signal.setitimer(signal.ITIMER_PROF, moment.at)


def kill() -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    """Stop this process as a debugger or a frozen host does: it lives, and does nothing any more."""
    os.kill(os.getpid(), signal.SIGSTOP)


def see_no_locks() -> None:
    """From now on locks of other processes do not count, as on a file system that has lost them or never had any."""
    fcntl.flock = fcntl.lockf = lambda *arguments: None


def sleep() -> None:
    """Wait for something that does not come, as for a file system that is gone."""
    time.sleep(_FOR_EVER_SECONDS)


def terminate(deadline: float) -> Callable[[], None]:
    """SIGTERM, and after so many seconds of processor time the end, whatever was still to be done."""

    def strike() -> None:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends the process
        signal.setitimer(signal.ITIMER_PROF, deadline)
        os.kill(os.getpid(), signal.SIGTERM)

    return strike


def jump_clocks(seconds: float) -> Callable[[], None]:
    """Let the wall clock jump by so many seconds; monotonic clocks jump too, but never back."""

    def strike() -> None:
        for name, offset in (("time", seconds), ("monotonic", abs(seconds)), ("perf_counter", abs(seconds))):
            setattr(time, name, _shifted(getattr(time, name), offset))

    return strike


def _shifted(clock: Callable[[], float], offset: float) -> Callable[[], float]:
    return lambda: clock() + offset


def kill_worker() -> None:
    """Kill a worker process as the kernel does for want of memory; if there is none now, look again soon."""
    workers = [worker.pid for worker in multiprocessing.active_children() if worker.pid is not None]
    if workers:
        os.kill(workers[0], signal.SIGKILL)
    else:
        signal.setitimer(signal.ITIMER_PROF, 0.01)


def kill_worker_after(shards: int) -> None:
    """Kill a worker of ``data prepare`` once so many shards are complete."""

    def look(number: int, frame: object) -> None:
        if len(list(Path().glob(".*.partial/outcome-*.json"))) < shards or not multiprocessing.active_children():
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        kill_worker()

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
