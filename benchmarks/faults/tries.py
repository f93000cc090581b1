"""One try of one fault: strike, look at what was said, run the same command again, compare the bytes."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.faults import inject
from benchmarks.faults.bench import Bench, Place
from benchmarks.faults.inject import Moment, arm, draw_moment
from benchmarks.faults.process import Ended, cold_crossray, crossray, start_together

SAME = "same bytes"


@dataclass(frozen=True)
class Try:
    """What became of one try.

    Attributes:
        fault, place, seed, struck: what was done, where, when.
        code: how the disturbed process ended.
        said: the last line that it said, if any.
        outcome: ``same bytes``, ``lost, and says which``, or what went wrong.
        fine: whether nothing went wrong.
    """

    fault: str
    place: str
    seed: int
    struck: str
    code: int
    said: str
    outcome: str
    fine: bool


Strike = Callable[[Bench, Place, random.Random, Path], tuple[str, Ended] | None]
"""Disturbs a command in a folder: when it struck and how that ended; None if it ended before it was struck."""


def interrupted(bench: Bench, fault: str, place: Place, strike: Strike, seed: int) -> Try | None:
    """A command is disturbed, then run again."""
    rng = random.Random(f"{fault}/{place.name}/{seed}")
    folder = bench.fresh(place)
    found = strike(bench, place, rng, folder)
    if found is None:
        return None
    struck, ended = found
    if ended.unsaid or (ended.code > 0 and not ended.is_clear and ended.code != STOPPED):
        problem = ended.unsaid or "no clear message"
        return Try(fault, place.name, seed, struck, ended.code, ended.errors[-2000:], problem, False)
    return _again(bench, fault, place, folder, seed, struck, ended)


#: Exit code after SIGTERM that was heeded.
STOPPED = 143


def _again(bench: Bench, fault: str, place: Place, folder: Path, seed: int, struck: str, ended: Ended) -> Try:
    again = place.run(folder)
    outcome = SAME if bench.same(place, folder) else "other bytes"
    said = _said(ended, folder)
    if again.code != 0:
        outcome, said = "the rerun failed", again.errors[-2000:]
    if outcome == SAME:
        shutil.rmtree(folder.parent)
    return Try(fault, place.name, seed, struck, ended.code, said, outcome, outcome == SAME)


def _said(ended: Ended, folder: Path) -> str:
    return ended.last_line.replace(str(folder), "")[:600]


def _in_process(action: Callable[[random.Random], Callable[[], None]]) -> Strike:
    def strike(bench: Bench, place: Place, rng: random.Random, folder: Path) -> tuple[str, Ended] | None:
        moment, act = draw_moment(rng, bench.courses[place.name]), action(rng)
        ended = crossray(place.words, folder, lambda: arm(moment, act))
        return None if ended.code == 0 else (str(moment), ended)

    return strike


kill: Strike = _in_process(lambda rng: inject.kill)
terminate: Strike = _in_process(lambda rng: inject.terminate(rng.uniform(0.001, 0.2)))


def kill_data_worker(bench: Bench, place: Place, rng: random.Random, folder: Path) -> tuple[str, Ended] | None:
    """A worker process of ``train`` or ``prepare`` is killed."""
    if place.makes == "store":
        shards = rng.randrange(2)
        ended = crossray(place.words, folder, lambda: inject.kill_worker_after(shards))
        return None if ended.code == 0 else (f"after {shards} shards", ended)
    moment = Moment("second", rng.uniform(0.05, 0.9) * bench.courses[place.name].seconds)
    ended = crossray(place.words, folder, lambda: arm(moment, inject.kill_worker))
    return None if ended.code == 0 else (str(moment), ended)


def hang(bench: Bench, place: Place, rng: random.Random, folder: Path) -> tuple[str, Ended] | None:
    """One process of two is stopped or falls asleep: the other has to say which, and it is ended as that tells."""
    rank, strike = rng.randrange(2), rng.choice((inject.stop, inject.sleep))
    moment = Moment("second", rng.uniform(0.4, 0.95) * bench.courses[place.name].seconds)
    before: list[Callable[[], None]] = [lambda: None, lambda: None]
    before[rank] = lambda: arm(moment, strike)
    started = start_together(place.words, folder, before)
    ended = started[1 - rank].end()
    os.kill(started[rank].process, signal.SIGKILL)
    started[rank].end()
    if ended.code == 0:
        return None
    if f"process {rank + 1} (host" not in ended.errors and "does not reach the other processes" not in ended.errors:
        ended = replace(ended, unsaid="not said which")
    return f"process {rank + 1}: {strike.__name__} at {moment}", ended


def jump_clock(bench: Bench, place: Place, rng: random.Random, folder: Path) -> tuple[str, Ended] | None:
    """The clocks jump by up to ten years, the process is killed later, and its files bear other times."""
    course = bench.courses[place.name]
    first, second = sorted(rng.uniform(0.05, 0.95) * course.seconds for _ in range(2))
    by = rng.choice((-1, 1)) * rng.uniform(60, 3.2e8)

    def jump_then_kill() -> None:
        inject.jump_clocks(by)()
        arm(Moment("second", max(second - first, 0.001)), inject.kill)

    ended = crossray(place.words, folder, lambda: arm(Moment("second", first), jump_then_kill))
    if ended.code == 0:
        return None
    for path in folder.rglob("*"):
        if path.relative_to(folder).parts[0] not in place.reads:
            moved = path.stat().st_mtime + rng.uniform(-3.2e8, 3.2e8)
            os.utime(path, (moved, moved))
    return f"{by:+.0f} s at {first:.3f} s, killed at {second:.3f} s", ended


def fill_disk(bench: Bench, place: Place, rng: random.Random, folder: Path) -> tuple[str, Ended] | None:
    """What the command makes goes to a small disk of its own (tmpfs), which is made larger afterwards.

    Where that may not be mounted, files are limited in size instead (``RLIMIT_FSIZE``).
    """
    share = rng.uniform(0.02, 0.9)
    if mounts_are_allowed(folder.parent):
        return _fill_tmpfs(bench, place, share, folder)
    largest = max(path.stat().st_size for path in bench.made_by(place))
    limit = int(share * largest)

    def before() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ended = crossray(place.words, folder, before)
    return None if ended.code == 0 else (f"files of at most {limit} bytes", ended)


def _fill_tmpfs(bench: Bench, place: Place, share: float, folder: Path) -> tuple[str, Ended] | None:
    room = sum(path.stat().st_size for path in bench.made_by(place))
    kilobytes = max(8, int(share * room / 1024))
    inputs = folder.with_name("inputs")
    folder.rename(inputs)
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder))
    try:
        for path in inputs.iterdir():
            (folder / path.name).symlink_to(path)
        ended = crossray(place.words, folder)
        left = [path for path in folder.iterdir() if not path.is_symlink()]
        for path in left:
            subprocess.run(["cp", "-a", str(path), str(inputs)], check=True)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    # Gone on with on a larger disk: the folder of inputs, to which what was left behind was moved.
    folder.rmdir()
    inputs.rename(folder)
    return None if ended.code == 0 else (f"{kilobytes} kB", ended)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def mounts_are_allowed(folder: Path) -> bool:
    """Whether a small disk may be mounted below a folder."""
    place = folder / "mount"
    place.mkdir(exist_ok=True)
    try:
        _mount("-t", "tmpfs", "-o", "size=8k", "none", str(place))
    except (OSError, subprocess.CalledProcessError):
        return False
    subprocess.run(["umount", str(place)], check=True)
    return True


def kill_cold(bench: Bench, place: Place, rng: random.Random, folder: Path) -> tuple[str, Ended] | None:
    """``kill -9`` of a process that began with nothing imported."""
    moment = Moment("operation", rng.randrange(bench.courses[place.name].operations))
    ended = cold_crossray(place.words, folder, moment)
    return None if ended.code == 0 else (str(moment), ended)
