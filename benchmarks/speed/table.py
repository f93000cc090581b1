"""The figures of each benchmark as JSON, and all of them as one Markdown table."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.speed.harness import Measured, Options
from benchmarks.speed.rows import ROWS, Row

_PACKAGES = ("crossray", "torch", "numpy", "timm", "transformers", "scikit-learn", "faiss-cpu", "pillow")


def document(bench: str, measured: list[Measured], options: Options, seconds: float) -> dict[str, Any]:
    quick = " --quick" if options.quick else ""
    return {
        "bench": bench,
        "command": f"python -m benchmarks.speed {bench}{quick} --rounds {options.rounds} --threads {options.threads}",
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 2),
        "threads": options.threads,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "rows": [asdict(row) for row in measured],
    }


def machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def write(folder: Path, content: dict[str, Any]) -> None:
    """One benchmark's file, and the table of all files that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{content['bench']}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(table(folder), encoding="utf-8")


def table(folder: Path) -> str:
    """The issue's rows in their order; what no file of the folder holds is "not measured"."""
    files = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}
    found = {row["row"]: row for content in files.values() for row in content["rows"]}
    lines = ["| what | reach | measured (median, least … most, n) | holds |", "| --- | --- | --- | --- |"]
    lines += [row_line(row, found.get(row.key)) for row in ROWS]
    lines += ["", "Details:", ""]
    lines += [f"- `{row.key}`: {found[row.key]['detail']}" for row in ROWS if found.get(row.key, {}).get("detail")]
    lines += ["", "| command | date | seconds | load before | threads |", "| --- | --- | ---: | ---: | ---: |"]
    lines += [
        f"| `{one['command']}` | {one['date']} | {one['seconds']} | {one['load_before']} | {one['threads']} |"
        for one in files.values()
    ]
    for place in sorted({(one["machine"], json.dumps(one["versions"])) for one in files.values()}):
        packages = ", ".join(f"{name} {number}" for name, number in json.loads(place[1]).items())
        lines += ["", f"Machine: {place[0]}; {packages}."]
    return "\n".join(lines) + "\n"


def row_line(row: Row, found: dict[str, Any] | None) -> str:
    if found is None:
        return f"| {row.what} | {row.reach} | not measured | |"
    median, low, high = (f"{found[name]:.3g}" for name in ("median", "low", "high"))
    holds = {True: "yes", False: "**no**", None: ""}[row.holds(found["median"])]
    return f"| {row.what} | {row.reach} | {median}{row.unit} ({low} … {high}, {found['n']}) | {holds} |"
