"""Disturb the long commands at seeded places: ``python -m benchmarks.faults``.

Prints a line for each cell; with ``--out`` (``docs/results/faults`` for the page) every try and the table are written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.faults import owners, tries
from benchmarks.faults.bench import (
    LATER_PLACES,
    PLACES,
    PREPARE_WITH_WORKERS,
    TRAIN_TOGETHER,
    TRAIN_WITH_WORKER,
    Bench,
    Place,
)
from benchmarks.faults.damages import (
    DAMAGED,
    Damaged,
    damaged,
    damaged_film,
    damaged_partial_shard,
    damaged_state,
    flip_bit,
    truncate,
)
from benchmarks.faults.process import ENVIRONMENT, import_everything
from benchmarks.faults.table import document, line_of, markdown, write
from benchmarks.faults.tries import Try, interrupted

Cell = tuple[str, str, Callable[[int], Try | None]]
"""Fault, place, and what tries it with a seed; None if the process ended before it was struck."""

SECONDS_BETWEEN_LOOKS = 10.0

_HARMS = (("a flipped bit", flip_bit), ("cut short", truncate))


def cells(bench: Bench) -> Iterator[Cell]:
    """Everything that is tried."""
    commands = (*PLACES, *LATER_PLACES)
    strikes = (
        ("kill -9", tries.kill, commands),
        ("kill -9, cold start", tries.kill_cold, PLACES),
        ("SIGTERM with a deadline", tries.terminate, commands),
        ("disk full", tries.fill_disk, commands),
        ("clocks jump, kill -9", tries.jump_clock, PLACES),
        ("a worker is killed", tries.kill_data_worker, (PREPARE_WITH_WORKERS, TRAIN_WITH_WORKER)),
        ("a process hangs", tries.hang, (TRAIN_TOGETHER,)),
        ("two calls at once", owners.call_twice, commands),
        ("frozen, lock lost, woken", owners.wake_late, commands),
    )
    for fault, strike, places in strikes:
        for place in places:
            yield fault, place.name, _interruption(bench, fault, place, strike)
    for fault, harm in _HARMS:
        for what in DAMAGED:
            yield fault, what.title, _damage(bench, fault, harm, what)
        for name, function in (
            ("the state of a stopped run", damaged_state),
            ("a finished part of a stopped preparation", damaged_partial_shard),
        ):
            yield fault, name, lambda seed, f=function, h=harm, n=name, t=fault: f(bench, t, h, n, seed)
    yield "cut short", "films of the source", lambda seed: damaged_film(bench, "cut short", "films", seed)


def _interruption(bench: Bench, fault: str, place: Place, strike: tries.Strike) -> Callable[[int], Try | None]:
    return lambda seed: interrupted(bench, fault, place, strike, seed)


def _damage(bench: Bench, fault: str, harm: Callable[..., None], what: Damaged) -> Callable[[int], Try | None]:
    return lambda seed: damaged(bench, fault, harm, what, seed)


class Count:
    """The tries of a cell so far; seeds whose process ended before it was struck are passed over."""

    def __init__(self, cell: Cell, wanted: int) -> None:
        self.cell, self.wanted = cell, wanted
        self.found = self.seed = 0

    def one_more(self) -> Try | None:
        """Try until one was struck, if more are wanted; not for ever."""
        while self.found < self.wanted and self.seed < 4 * self.wanted:
            one = self.cell[2](self.seed)
            self.seed += 1
            if one is not None:
                self.found += 1
                return one
        return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--tries", type=int, default=10, help="of each cell")
    parser.add_argument("--cold", type=int, default=3, help="tries of each cell of cold starts")
    parser.add_argument("--jobs", type=int, default=2, help="processes that share the cells")
    parser.add_argument(
        "--only", default="", help="cells whose fault and place hold one of these: 'kill -9, train;hangs'"
    )
    parser.add_argument("--folder", type=Path, help="where to work; what went wrong stays there")
    parser.add_argument("--out", type=Path, help="folder for the tries and the table")
    arguments = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    start = time.time()
    import_everything()
    root = (arguments.folder or Path(tempfile.mkdtemp(prefix="crossray-faults-"))).resolve()
    bench = Bench(root / "bench")
    only = arguments.only.split(";")
    chosen = [cell for cell in cells(bench) if any(part in f"{cell[0]}, {cell[1]}" for part in only)]
    counts = [Count(cell, arguments.cold if "cold" in cell[0] else arguments.tries) for cell in chosen]
    logs = [root / f"tries-{job}.jsonl" for job in range(min(arguments.jobs, len(counts)))]
    jobs = {start_job(counts[job :: len(logs)], log) for job, log in enumerate(logs)}
    failed = False
    while jobs:
        found = tries_of(logs)
        if arguments.out is not None and found:
            write(arguments.out, document(found, bench, time.time() - start))
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended in jobs:
            jobs.remove(ended)
            failed |= status != 0
        time.sleep(SECONDS_BETWEEN_LOOKS)
    found = tries_of(logs)
    if arguments.out is not None:
        write(arguments.out, document(found, bench, time.time() - start))
    print(markdown(document(found, bench, time.time() - start)))
    sys.exit(1 if failed or not all(one.fine for one in found) else 0)


def start_job(counts: list[Count], log: Path) -> int:
    """A process that makes its share of the tries, round by round, and notes each in a line of JSON."""
    log.touch()
    process = os.fork()
    if process:
        return process
    try:
        # Round by round, so that one that is stopped has tried everything as often as it could.
        for _ in range(max(count.wanted for count in counts)):
            for count in counts:
                one = count.one_more()
                if one is not None:
                    with log.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(one)) + "\n")
                    if not one.fine:
                        print(line_of(one.fault, one.place, [one]), one.seed, one.said, flush=True)
        os._exit(0)
    except BaseException:  # it must end here, and not go on as a second harness
        traceback.print_exc()
        os._exit(1)


def tries_of(logs: list[Path]) -> list[Try]:
    """What was tried so far, cell by cell."""
    found = [Try(**json.loads(line)) for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    order = list(dict.fromkeys((one.fault, one.place) for one in found))
    faults = list(dict.fromkeys(fault for fault, _ in order))
    return sorted(found, key=lambda one: (faults.index(one.fault), order.index((one.fault, one.place)), one.seed))


if __name__ == "__main__":
    main()
