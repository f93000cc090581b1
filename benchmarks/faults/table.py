"""Tries as a table: fault by place, how often tried, and what came of it."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.faults.bench import Bench
from benchmarks.faults.tries import STOPPED, Try

from crossray.versions import code_version, now, versions

FILE, TABLE = "faults.json", "table.md"

_HEAD = """
| fault | place | tries | the process | after its remedy, or run again |
| --- | --- | ---: | --- | --- |
"""


def document(tries: Sequence[Try], bench: Bench, seconds: float) -> dict[str, Any]:
    """Everything that was tried, and with what."""
    # The date is that of today, and not the one that is given to the processes.
    os.environ.pop("SOURCE_DATE_EPOCH", None)
    return {
        "command": " ".join(["python -m benchmarks.faults", *sys.argv[1:]]),
        "date": now(),
        "versions": {**versions(), "code": code_version(files("crossray"), frozenset())},
        "seconds": round(seconds),
        "hashes": bench.hashes,
        "courses": {name: asdict(course) for name, course in bench.courses.items()},
        "tries": [asdict(one) for one in tries],
    }


def write(folder: Path, content: dict[str, Any]) -> None:
    """The tries as JSON, and the table made from them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / TABLE).write_text(markdown(content), encoding="utf-8")


def markdown(content: dict[str, Any]) -> str:
    """The table, with its command, versions and day."""
    tries = [Try(**one) for one in content["tries"]]
    cells: dict[tuple[str, str], list[Try]] = {}
    for one in tries:
        cells.setdefault((one.fault, one.place), []).append(one)
    lines = [line_of(fault, place, own) for (fault, place), own in cells.items()]
    fine = sum(one.fine for one in tries)
    kept = ", ".join(f"{name} {value}" for name, value in content["versions"].items())
    return (
        f"{len(tries)} tries in {len(cells)} cells, {fine} of them ended as they should.\n"
        + _HEAD
        + "\n".join(lines)
        + "\n\n"
        + f"- command: `{content['command']}`, {content['seconds']} s\n"
        + f"- {content['date']}; {kept}\n"
    )


def line_of(fault: str, place: str, tries: Sequence[Try]) -> str:
    """A cell as a line of the table."""
    ends = Counter(_end(one) for one in tries)
    outcomes = Counter(one.outcome for one in tries)
    cells = [fault, place, str(len(tries)), _counted(ends), _counted(outcomes)]
    return "| " + " | ".join(cells) + " |"


def _end(one: Try) -> str:
    if one.code < 0:
        return "killed"
    well = "had nothing left to write" if one.fault.startswith("frozen") else "mended it itself"
    ends = {0: well, 1: "told what failed", 2: "one clear message", STOPPED: "stopped, told"}
    return ends.get(one.code, f"exit code {one.code}")


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counter.most_common())
