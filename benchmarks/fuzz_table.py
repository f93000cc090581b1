"""Executions and findings of a fuzzing campaign, as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.fuzz import Finding
from benchmarks.fuzz_targets import TARGETS

from crossray.versions import code_version, now, versions

_HEAD = "| target | what is opened | executions | findings |\n| --- | --- | ---: | --- |\n"


def write(folder: Path, executions: Mapping[str, int], findings: Sequence[Finding], options: str) -> None:
    """Write ``fuzz.json`` and ``table.md``."""
    content = {
        "command": f"python -m benchmarks.fuzz {options}",
        "date": now(),
        "versions": {**versions(), "code": code_version(files("crossray"), frozenset())},
        "executions": dict(executions),
        "findings": [[one.target, one.seed, one.problem.strip().splitlines()[-1][:200]] for one in findings],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fuzz.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(markdown(content), encoding="utf-8")


def markdown(content: Mapping[str, Any]) -> str:
    """The table, with its command, versions and day."""
    lines = []
    for name, count in content["executions"].items():
        own = [f"seed {seed}: {problem}" for target, seed, problem in content["findings"] if target == name]
        opened = (TARGETS[name].__doc__ or "").splitlines()[0].removesuffix(".")
        lines.append(f"| {name} | {opened} | {count} | {'; '.join(own).replace('|', ' ') or 'none'} |")
    kept = ", ".join(f"{name} {value}" for name, value in content["versions"].items())
    return (
        f"{sum(content['executions'].values())} executions.\n\n{_HEAD}"
        + "\n".join(lines)
        + f"\n\n- command: `{content['command']}`\n- {content['date']}; {kept}\n"
    )
