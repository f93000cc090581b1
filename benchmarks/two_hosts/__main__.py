"""Does a run on two hosts hold? ``python -m benchmarks.two_hosts --out docs/results/two-hosts`` (Linux, as root).

Makes two network namespaces with a cable between them and trains a tiny recipe: on one host, on both under torchrun,
on both while a process is killed, on both while the cable is pulled, and on one with half the batch (weak scaling).
Every run is to have the losses of the first. Writes ``two_hosts.json``, ``table.md`` and ``figure.png``.
``--quick`` trains for a few steps and kills, but neither pulls the cable nor scales.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.two_hosts.experiments import (
    Plan,
    as_json,
    cut_cable,
    killed_process,
    loss_difference,
    one_process,
    two_processes,
)
from benchmarks.two_hosts.hosts import TwoHosts, why_impossible
from benchmarks.two_hosts.report import curves, table

from crossray.files import write_json, write_whole

FULL = Plan(studies=320, batch=16, epochs=2, fault_at_step=8)
QUICK = Plan(studies=60, batch=8, epochs=2, fault_at_step=6)


def main() -> None:
    """Run the experiments and write what came of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_hosts", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the results")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=Path, help="a folder for store and runs, kept (default: a temporary one)")
    arguments = parser.parse_args()
    if (reason := why_impossible()) is not None:
        sys.exit(f"Two hosts cannot be made here: {reason}.")
    with tempfile.TemporaryDirectory() as temporary, TwoHosts() as hosts:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        plan = QUICK if arguments.quick else FULL
        _prepare(work, plan)
        results, losses = _measure(hosts, work, plan, quick=arguments.quick)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "two_hosts.json", results)
    write_whole(arguments.out / "table.md", table(results))
    curves(losses, arguments.out / "figure.png")
    print(table(results))


def _prepare(work: Path, plan: Plan) -> None:
    command = [str(Path(sys.executable).parent / "crossray"), "data"]
    sizes = ["--set", f"count={plan.studies}", "--set", "size=80", "--size", "80", "--workers", "1"]
    subprocess.run([*command, "prepare", "phantom", *sizes, "--out", "store"], cwd=work, check=True)
    split = ["--test", "0.05", "--name", "two-hosts", "--out", "split.json"]
    subprocess.run([*command, "split", "store", *split], cwd=work, check=True)
    recipe = files("benchmarks.two_hosts").joinpath("recipe.yaml").read_text(encoding="utf-8")
    write_whole(work / "recipe.yaml", recipe)


def _measure(hosts: TwoHosts, work: Path, plan: Plan, *, quick: bool) -> tuple[dict[str, Any], dict[str, list[float]]]:
    losses: dict[str, list[float]] = {}
    losses["one process"], alone = one_process(hosts, work, plan, "one", plan.batch)
    losses["two hosts"], together = two_processes(hosts, work, plan)
    speeds = [alone, together]
    losses["two hosts, a process killed"], killed = killed_process(hosts, work, plan, losses["one process"])
    recoveries = [killed]
    if not quick:
        losses["two hosts, cable pulled"], cut = cut_cable(hosts, work, plan, losses["one process"])
        recoveries.append(cut)
        speeds.insert(0, one_process(hosts, work, plan, "half", plan.batch // 2)[1])
    results = {
        "command": f"python -m benchmarks.two_hosts{' --quick' if quick else ''} --out OUT",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("crossray", "torch", "lightning-fabric")}
        | {"python": platform.python_version(), "linux": platform.release()},
        "cores": os.cpu_count(),
        "load_at_end": round(os.getloadavg()[0], 1),
        "steps": len(losses["one process"]),
        "loss_difference": loss_difference(losses["two hosts"], losses["one process"]),
        "recoveries": [as_json(recovery) for recovery in recoveries],
        "speeds": [as_json(speed) for speed in speeds],
    }
    return results, losses


if __name__ == "__main__":
    main()
