"""Fuzz the viewer: ``python -m tests.fuzz --count 5000``. Prints counts by stage of refusal; exits with 1 if it failed.

A server of a small untrained run is started for it, in a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.viewer.server import running_server

from crossray.methods.global_local import GlobalLocalConfig
from tests.fuzz.campaign import STAGES, Campaign, run_campaign
from tests.inference.test_joint_model import write_run

#: Growth between the end of the first tenth, when every codec has been met, and the end.
LARGEST_GROWTH = 1.15


def lines_of(found: Campaign) -> list[str]:
    """The counts as a table, and the memory on the way."""
    stages = [stage for stage in STAGES if any(counts[stage] for counts in found.stages.values())]
    lines = ["| kind | sent | " + " | ".join(stages) + " |", "|---" * (2 + len(stages)) + "|"]
    for kind, counts in sorted(found.stages.items()):
        lines.append(f"| {kind} | {counts.total()} | " + " | ".join(str(counts[stage]) for stage in stages) + " |")
    lines.append(f"harms of films: {', '.join(f'{place} {count}' for place, count in found.harms.most_common())}")
    lines.append(f"past the header, or JSON's syntax: {found.past_header:.1%}")
    for part in ("server", "decoders"):
        lines.append(f"MiB of the {part}: " + " ".join(str(sample[part] >> 20) for sample in found.memory))
    return lines


def growth(found: Campaign) -> float:
    """The server's memory at the end over that after the first tenth."""
    return found.memory[-1]["server"] / found.memory[min(2, len(found.memory) - 1)]["server"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="uploads and questions")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crossray-fuzz-") as folder:
        run = write_run(Path(folder) / "run", GlobalLocalConfig())
        with running_server(run, Path(folder) / "log") as server:
            found = run_campaign(server, arguments.count, arguments.seed)
    print("\n".join(lines_of(found)))
    if growth(found) > LARGEST_GROWTH:
        found.wrong.append(f"the server's memory grew {growth(found):.2f} times")
    print("\n".join(found.wrong) or "Nothing went wrong.")
    sys.exit(1 if found.wrong else 0)


if __name__ == "__main__":
    main()
