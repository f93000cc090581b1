"""A comparison as files: ``compare.json``, ``table.md``, ``table.csv``, ``table.tex``."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path

from crossray.errors import CrossRayError
from crossray.evaluation.comparison.columns import Column
from crossray.evaluation.comparison.facts import Facts
from crossray.evaluation.comparison.latex import latex
from crossray.evaluation.comparison.layout import Sheet, Text, is_clear, sheets
from crossray.evaluation.comparison.table import Comparison, Line, Number
from crossray.evaluation.intervals import Interval
from crossray.files import explained_disk_errors, write_whole

COMPARISON_FORMAT_VERSION = 1


def write_tables(comparison: Comparison, facts: Facts, folder: Path) -> None:
    """Write the four files into ``folder``, each whole or not at all."""
    content = json.dumps(as_json(comparison, facts), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with explained_disk_errors(CrossRayError, folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "table.md", markdown(comparison, facts))
        write_whole(folder / "table.csv", as_csv(comparison, facts))
        write_whole(folder / "table.tex", latex(sheets(comparison), facts.lines()))
        write_whole(folder / "compare.json", content)


def as_json(comparison: Comparison, facts: Facts) -> dict[str, object]:
    """The whole comparison as a JSON value; what is not finite is null."""
    return {
        "kind": "comparison",
        "format_version": COMPARISON_FORMAT_VERSION,
        "provenance": asdict(facts),
        "lines": [
            {
                "name": line.name,
                "kind": line.kind,
                "seeds": list(line.seeds),
                "numbers": [_number_json(column, number) for column, number in line.numbers.items()],
            }
            for line in comparison.lines
        ],
    }


def markdown(comparison: Comparison, facts: Facts) -> str:
    """The comparison as one Markdown document."""
    lines = [f"# Comparison: {facts.protocol}", "", "Research only, not for diagnosis.", ""]
    lines += [f"- {line}" for line in facts.lines()]
    for sheet in sheets(comparison):
        lines += ["", f"## {sheet.title}", "", *_markdown_table(sheet)]
    return "\n".join(lines) + "\n"


def as_csv(comparison: Comparison, facts: Facts) -> str:
    """One line for each number, so that it can be filtered; every line carries its circumstances."""
    buffer = io.StringIO()
    rows = [
        _csv_row(line, column, number, facts) for line in comparison.lines for column, number in line.numbers.items()
    ]
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _number_json(column: Column, number: Number) -> dict[str, object]:
    difference = number.difference
    return {
        "task": column.task,
        "metric": column.metric,
        "target": column.target,
        "lower_is_better": column.lower_is_better,
        **_interval_json(number.interval),
        "n": number.n,
        "by_seed": {str(seed): value for seed, value in number.by_seed.items()},
        "sd_between_seeds": number.spread,
        "difference": None
        if difference is None
        else {**_interval_json(difference), "interval_without_zero": is_clear(difference)},
    }


def _interval_json(interval: Interval) -> dict[str, object]:
    return {
        "value": _finite(interval.estimate),
        "low": _finite(interval.low),
        "high": _finite(interval.high),
        "undefined_draws": interval.undefined_draws,
    }


def _csv_row(line: Line, column: Column, number: Number, facts: Facts) -> dict[str, object]:
    difference = number.difference
    return {
        "name": line.name,
        "kind": line.kind,
        "task": column.task,
        "metric": column.metric,
        "target": column.target,
        "value": _finite(number.interval.estimate),
        "low": _finite(number.interval.low),
        "high": _finite(number.interval.high),
        "n": number.n,
        "seeds": " ".join(map(str, number.by_seed)),
        "sd_between_seeds": number.spread,
        "reference": facts.reference,
        "difference": None if difference is None else _finite(difference.estimate),
        "difference_low": None if difference is None else _finite(difference.low),
        "difference_high": None if difference is None else _finite(difference.high),
        "protocol": facts.protocol,
        "split_hash": facts.split_hash,
        "store_hash": facts.store_hash,
        "studies": facts.studies,
        "level": facts.level,
        "draws": facts.draws,
        "command": facts.command,
        "versions": ", ".join(f"{name} {version}" for name, version in facts.versions.items()),
        "date": facts.date,
    }


def _markdown_table(sheet: Sheet) -> list[str]:
    lines = ["| | " + " | ".join(sheet.heads) + " |", "| --- |" + " ---: |" * len(sheet.heads)]
    for name, cells in zip(sheet.names, sheet.cells, strict=True):
        lines.append(f"| {_one_line(name)} | " + " | ".join(_shown(cell, sheet.kind) for cell in cells) + " |")
    return lines


def _shown(cell: Text, kind: str) -> str:
    if not cell.detail:
        return cell.main
    return f"{cell.main} ({cell.detail})" if kind == "seeds" else f"{cell.main} [{cell.detail}]"


def _one_line(name: str) -> str:
    return name.replace("|", "\\|")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
