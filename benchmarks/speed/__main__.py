"""Run benchmarks: ``python -m benchmarks.speed`` all of them, or those that are named.

Each prints its rows; with ``--out`` (``docs/results/bench`` for the page) they are also written, with the table.
Several are run in processes of their own, so that none inherits another's memory.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

BENCHES = (
    "loss",
    "memory",
    "step",
    "prior",
    "data",
    "outside",
    "prepare",
    "retrieval",
    "bootstrap",
    "search",
    "caching",
    "growth",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Print ratios of speed and memory.")
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to see that it works; figures say nothing")
    parser.add_argument("--rounds", type=int, help="how often each side is measured (7; 2 with --quick)")
    parser.add_argument("--threads", type=int, default=2, help="of both sides")
    parser.add_argument("--out", type=Path, help="folder for the figures and the table")
    arguments = parser.parse_args()
    if arguments.quick and arguments.out is not None:
        parser.error("figures of --quick say nothing and are not written")
    names = arguments.names or list(BENCHES)
    if len(names) > 1:
        run_each(names)
    else:
        run(names[0], arguments)


def run_each(names: list[str]) -> None:
    rest = [argument for argument in sys.argv[1:] if argument not in BENCHES]
    failed = []
    for name in names:
        command = [sys.executable, "-m", "benchmarks.speed", name, *rest]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run(name: str, arguments: argparse.Namespace) -> None:
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import torch
    from benchmarks.speed.harness import Options
    from benchmarks.speed.rows import ROWS
    from benchmarks.speed.table import document, row_line, write

    torch.set_num_threads(arguments.threads)
    options = Options(arguments.quick, arguments.rounds or (2 if arguments.quick else 7), arguments.threads)
    start = time.perf_counter()
    measured = importlib.import_module(f"benchmarks.speed.{name}").measure(options)
    content = document(name, measured, options, time.perf_counter() - start)
    found = {row["row"]: row for row in content["rows"]}
    for row in ROWS:
        if row.key in found:
            print(row_line(row, found[row.key]), found[row.key]["detail"], flush=True)
    if arguments.out is not None:
        write(arguments.out, content)


if __name__ == "__main__":
    main()
