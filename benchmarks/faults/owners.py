"""Two processes in one folder: called at once, or frozen and woken when another has taken over."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.faults import inject
from benchmarks.faults.bench import Bench, Place
from benchmarks.faults.inject import arm, draw_moment
from benchmarks.faults.process import Ended, crossray, start

from crossray.ownership import NOTE_FILE


def call_twice(bench: Bench, place: Place, rng: random.Random, folder: Path) -> tuple[str, Ended] | None:
    """A second call while the first works: one is refused and told by whom, and the other ends as if alone.

    In half of the tries the first is frozen meanwhile, and woken afterwards.
    """
    if rng.random() < 0.5:
        return _call_beside_a_frozen_one(bench, place, rng, folder)
    lag = rng.uniform(0.0, 0.9) * bench.courses[place.name].seconds
    first = start(place.words, folder, lambda: None, "first.")
    time.sleep(lag)
    second = start(place.words, folder, lambda: None, "second.")
    both = (first, first.end()), (second, second.end())
    if all(ended.code == 0 for _, ended in both) and bench.same(place, folder):
        return None  # one after the other
    (_, refused), (winner, other) = sorted(both, key=lambda one: one[1].code == 0)
    return f"{lag:.3f} s later", _judged(bench, place, folder, refused, winner.process, other)


def _call_beside_a_frozen_one(bench: Bench, place: Place, rng: random.Random, folder: Path) -> tuple[str, Ended] | None:
    moment = draw_moment(rng, bench.courses[place.name])
    frozen = start(place.words, folder, partial(arm, moment, inject.stop), "first.")
    owns = frozen.is_stopped() and _is_owned(folder)
    second = crossray(place.words, folder) if owns else None
    os.kill(frozen.process, signal.SIGCONT)
    woken = frozen.end()
    if second is None or (second.code == woken.code == 0 and bench.same(place, folder)):
        return None  # it owned nothing yet, or had only to tidy up
    return f"frozen at {moment}", _judged(bench, place, folder, second, frozen.process, woken)


def _is_owned(folder: Path) -> bool:
    return any(True for _ in folder.rglob(NOTE_FILE))


def _judged(bench: Bench, place: Place, folder: Path, refused: Ended, winner: int, other: Ended) -> Ended:
    """The refused one, with what is wrong with it, or with the other."""
    problem = ""
    if other.code != 0:
        problem = f"the other failed: {other.last_line}"
    elif f"process {winner} on host" not in refused.errors:
        problem = "not said by whom"
    elif not bench.same(place, folder):
        problem = "other bytes before the rerun"
    return replace(refused, unsaid=problem)


def wake_late(bench: Bench, place: Place, rng: random.Random, folder: Path) -> tuple[str, Ended] | None:
    """The owner is frozen and loses its lock, another does the whole work, then the owner wakes: it may alter nothing.

    Locks are lost as they are on a file system of many hosts whose server gives up a silent client.
    """
    moment = draw_moment(rng, bench.courses[place.name])

    def freeze() -> None:
        inject.see_no_locks()
        arm(moment, inject.stop)

    frozen = start(place.words, folder, freeze, "first.")
    owns = frozen.is_stopped() and _is_owned(folder)
    second = crossray(place.words, folder, inject.see_no_locks) if owns else None
    done = bench.same(place, folder)
    os.kill(frozen.process, signal.SIGCONT)
    woken = frozen.end()
    if second is None:
        return None
    problem = ""
    if second.code != 0 or not done:
        problem = f"the second did not do it: {second.last_line}"
    elif not bench.same(place, folder):
        problem = "it altered what the other had made"
    return f"frozen at {moment}", replace(woken, unsaid=problem)
