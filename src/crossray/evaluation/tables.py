"""Result rows laid out as tables: models down, targets across. The Markdown file and the HTML report share them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossray.evaluation.results import Results, Row

TASK_TITLES = {
    "retrieval": "Retrieval",
    "zero_shot": "Zero-shot classification",
    "probe": "Linear probe (frozen features)",
    "finetune": "Fine-tuned",
}

_METRIC_NOTES = {
    "AUROC": "area under the ROC curve",
    "AP": "average precision",
}


@dataclass(frozen=True)
class Cell:
    """One number of a table; ``detail`` is its interval or empty."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class TableLine:
    """One line: what was evaluated, its kind (model, floor, chance, difference), its numbers."""

    title: str
    kind: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table with its caption; ``columns`` are titles, ``column_notes`` stand below them (n and n⁺)."""

    task: str
    title: str
    columns: tuple[str, ...]
    column_notes: tuple[str, ...]
    lines: tuple[TableLine, ...]


def tables(results: Results) -> list[Table]:
    """Every table of the results, in a fixed order: one for each task and metric (retrieval: each direction)."""
    found = []
    for task in TASK_TITLES:
        rows = results.select(task=task)
        if task == "retrieval":
            for direction in dict.fromkeys(row.target for row in rows):
                found.append(_retrieval_table(direction, [row for row in rows if row.target == direction]))
            continue
        for metric in dict.fromkeys(row.metric for row in rows):
            found.append(_classification_table(task, metric, [row for row in rows if row.metric == metric]))
    return found


def markdown(results: Results) -> str:
    """The results as one Markdown document."""
    provenance = results.provenance
    lines = [
        f"# Results: {provenance.protocol}",
        "",
        "Research only, not for diagnosis.",
        "",
        f"- split `{provenance.split_protocol}`, hash `{provenance.split_hash[:16]}`, "
        f"folds {', '.join(provenance.folds)}, {provenance.studies} studies scored out-of-fold",
        f"- store of `{provenance.source}`, hash `{provenance.store_hash[:16]}`",
        f"- preset `{provenance.preset}`, seeds {_pairs(provenance.seeds)}",
        f"- intervals: {100 * provenance.level:g} % percentile bootstrap by patient inside folds, "
        f"{provenance.draws} draws; differences are paired",
        *(f"- {name}: {choice}" for name, choice in provenance.choices.items()),
        f"- command: `{provenance.command}`",
        f"- {provenance.date}; {_pairs(provenance.versions)}",
    ]
    for table in tables(results):
        lines += ["", f"## {table.title}", "", *_markdown_table(table)]
    return "\n".join(lines) + "\n"


def number(value: float | None, metric: str, *, signed: bool = False) -> str:
    """A number as it is printed: shares as per cent, ranks with one decimal, areas with three."""
    if value is None:
        return "–"
    if metric.startswith("R@"):
        return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    if metric == "median rank":
        return f"{value:+.1f}" if signed else f"{value:.1f}"
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def _classification_table(task: str, metric: str, rows: Sequence[Row]) -> Table:
    targets = list(dict.fromkeys(row.target for row in rows))
    counts = {row.target: row for row in rows if row.positives is not None}
    notes = [f"n⁺ {counts[t].positives} of {counts[t].n}" if t in counts else "" for t in targets]
    title = f"{TASK_TITLES[task]}: {_METRIC_NOTES.get(metric, metric)}"
    return Table(task, title, tuple(targets), tuple(notes), _lines(rows, "target", targets))


def _retrieval_table(direction: str, rows: Sequence[Row]) -> Table:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    queries = next((row.n for row in rows if row.n is not None), None)
    columns = tuple(f"{metric}, %" if metric.startswith("R@") else metric for metric in metrics)
    title = f"{TASK_TITLES['retrieval']}: {direction}" + (f" ({queries} queries)" if queries else "")
    return Table("retrieval", title, columns, ("",) * len(metrics), _lines(rows, "metric", metrics))


def _lines(rows: Sequence[Row], across: str, columns: Sequence[str]) -> tuple[TableLine, ...]:
    lines = []
    for key in dict.fromkeys((row.model, row.variant) for row in rows):
        own = [row for row in rows if (row.model, row.variant) == key]
        by_column = {getattr(row, across): row for row in own}
        cells = tuple(_cell(by_column[column]) if column in by_column else Cell("") for column in columns)
        title = f"{key[0]} ({key[1]})" if key[1] else key[0]
        lines.append(TableLine(title, own[0].kind, cells))
    return tuple(lines)


def _cell(row: Row) -> Cell:
    signed = row.kind == "difference"
    bounds = [number(bound, row.metric, signed=signed) for bound in (row.low, row.high)]
    detail = f"{bounds[0]} to {bounds[1]}" if row.low is not None and row.high is not None else ""
    return Cell(number(row.value, row.metric, signed=signed), detail)


def _markdown_table(table: Table) -> list[str]:
    heads = [f"{c} ({n})" if n else c for c, n in zip(table.columns, table.column_notes, strict=True)]
    lines = ["| | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for line in table.lines:
        cells = [f"{cell.text} [{cell.detail}]" if cell.detail else cell.text for cell in line.cells]
        lines.append(f"| {line.title} | " + " | ".join(cells) + " |")
    return lines


def _pairs(content: dict[str, int] | dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in content.items())
