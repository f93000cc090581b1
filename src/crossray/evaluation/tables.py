"""Result rows laid out as tables. The Markdown file and the HTML report share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from crossray.evaluation.calibration import BINS, BRIER, ECE
from crossray.evaluation.grounding import OFF_FILM, POINTING
from crossray.evaluation.results import Results, Row

TASK_TITLES = {
    "retrieval": "Retrieval",
    "class_retrieval": "Retrieval by class",
    "zero_shot": "Zero-shot classification",
    "class_decision": "Zero-shot decision",
    "grounding": "Phrase grounding",
    "probe": "Linear probe (frozen features)",
    "finetune": "Fine-tuned",
    "text_probe": "Linear probe on the report alone",
    "joint_probe": "Linear probe on film and report",
}

_LABELS_OF_REPORTS = (
    "The report is part of what is classified. Where labels were read from reports (by CheXpert's or our labeller, or "
    "as IU's MeSH terms), this figure says how well the features keep the words that the labels were made from, and "
    "nothing of what is seen on films: a bag of words does almost as well. It never stands for a classifier of films."
)

#: What must be read with a task's figures; printed beside each of its tables.
CAVEATS = {"text_probe": _LABELS_OF_REPORTS, "joint_probe": _LABELS_OF_REPORTS}

#: Tasks whose tables have models down and metrics across, and what their rows count.
METRICS_ACROSS = {
    "retrieval": "queries",
    "class_retrieval": "queries",
    "class_decision": "films",
    "grounding": "phrases",
}

_METRIC_NOTES = {
    "AUROC": "area under the ROC curve",
    "AP": "average precision",
    ECE: f"expected calibration error in {BINS} bins of equal mass, lower is better; its intervals lie high",
    BRIER: "Brier score, lower is better",
}


@dataclass(frozen=True)
class Cell:
    """One number of a table; ``detail`` is its interval or empty."""

    text: str
    detail: str = ""


@dataclass(frozen=True)
class Head:
    """The head of a line or a column: its title, a note below it, and the kind of what was evaluated (or empty)."""

    title: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption; ``cells[line][column]``. ``main`` tables come first, others may be folded away.

    ``caveat`` is what must be read with its figures, or empty.
    """

    task: str
    title: str
    main: bool
    columns: tuple[Head, ...]
    lines: tuple[Head, ...]
    cells: tuple[tuple[Cell, ...], ...]
    caveat: str = ""


def tables(results: Results) -> list[Table]:
    """Every table of the results, task by task.

    Retrieval has one for each direction and grounding one for each finding, models down and metrics across;
    classification one for each metric, labels down and models across.
    """
    found = []
    caveats = {**CAVEATS, **results.provenance.caveats}
    for task in TASK_TITLES:
        rows = results.select(task=task)
        by_target = task in METRICS_ACROSS
        of = "target" if by_target else "metric"
        for place, value in enumerate(dict.fromkeys(getattr(row, of) for row in rows)):
            part = [row for row in rows if getattr(row, of) == value]
            table = _metrics_table(value, part, place < 2) if by_target else _label_table(value, part)
            found.append(replace(table, caveat=caveats.get(task, "")))
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
        caveat = [f"*{table.caveat}*", ""] if table.caveat else []
        lines += ["", f"## {table.title}", "", *caveat, *_markdown_table(table)]
    return "\n".join(lines) + "\n"


def number(value: float | None, metric: str, *, signed: bool = False) -> str:
    """A number as it is printed: shares as per cent, ranks with one decimal, areas with three."""
    if value is None:
        return "–"
    if is_share(metric):
        return _printed(100 * value, 1, signed)
    return _printed(value, 1 if metric == "median rank" else 3, signed)


def with_interval(value: float | None, low: float | None, high: float | None, *, signed: bool = False) -> str:
    """``0.812 [0.790, 0.834]``, without the brackets where there is no interval, a dash where there is no value."""
    if value is None:
        return "–"
    if low is None or high is None:
        return _printed(value, 3, signed)
    return f"{_printed(value, 3, signed)} [{_printed(low, 3, signed)}, {_printed(high, 3, signed)}]"


def _printed(value: float, places: int, signed: bool) -> str:
    """With a minus sign, which is as wide as a plus, instead of a hyphen, where a line may end."""
    return f"{value:{'+' if signed else ''}.{places}f}".replace("-", "\N{MINUS SIGN}")


def is_share(metric: str) -> bool:
    """Whether a metric is a share, printed as per cent."""
    return metric.startswith(("R@", "P@", "Hit@")) or metric in (POINTING, OFF_FILM)


def _label_table(metric: str, rows: Sequence[Row]) -> Table:
    targets = list(dict.fromkeys(row.target for row in rows))
    counts = {row.target: f"n⁺ {row.positives} of {row.n}" for row in rows if row.positives is not None}
    models = _models(rows)
    task = rows[0].task
    return Table(
        task=task,
        title=f"{TASK_TITLES[task]}: {_METRIC_NOTES.get(metric, metric)}",
        main=metric == "AUROC",
        columns=tuple(models.values()),
        lines=tuple(Head(target, counts.get(target, "")) for target in targets),
        cells=tuple(tuple(_find(rows, model, target=target) for model in models) for target in targets),
    )


def _metrics_table(target: str, rows: Sequence[Row], main: bool) -> Table:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    task, count = rows[0].task, next((row.n for row in rows if row.n is not None), None)
    models = _models(rows)
    return Table(
        task=task,
        title=f"{TASK_TITLES[task]}: {target}" + (f" ({count} {METRICS_ACROSS[task]})" if count else ""),
        main=main,
        columns=tuple(Head(f"{metric}, %" if is_share(metric) else metric) for metric in metrics),
        lines=tuple(models.values()),
        cells=tuple(tuple(_find(rows, model, metric=metric) for metric in metrics) for model in models),
    )


def _models(rows: Sequence[Row]) -> dict[tuple[str, str], Head]:
    """What was evaluated, in order: (model, variant) → how it is called.

    A variant goes by its own name, and by its model's too where several models have it.
    """
    models_with = Counter(variant for _, variant in {(row.model, row.variant) for row in rows if row.kind == "variant"})
    heads = {}
    for row in rows:
        if row.kind != "variant":
            head = Head(row.model, row.variant, row.kind)
        elif models_with[row.variant] > 1:
            head = Head(f"{row.model}, {row.variant}", "", row.kind)
        else:
            head = Head(row.variant, "", row.kind)
        heads[row.model, row.variant] = head
    return heads


def _find(rows: Sequence[Row], model: tuple[str, str], **conditions: str) -> Cell:
    for row in rows:
        if (row.model, row.variant) == model and all(getattr(row, k) == value for k, value in conditions.items()):
            return _cell(row)
    return Cell("")


def _cell(row: Row) -> Cell:
    signed = row.kind == "difference"
    bounds = [number(bound, row.metric, signed=signed) for bound in (row.low, row.high)]
    detail = f"{bounds[0]} to {bounds[1]}" if row.low is not None and row.high is not None else ""
    return Cell(number(row.value, row.metric, signed=signed), detail)


def _markdown_table(table: Table) -> list[str]:
    heads = [_one_line(column) for column in table.columns]
    lines = ["| | " + " | ".join(heads) + " |", "| --- |" + " ---: |" * len(heads)]
    for head, cells in zip(table.lines, table.cells, strict=True):
        written = [f"{cell.text} [{cell.detail}]" if cell.detail else cell.text for cell in cells]
        lines.append(f"| {_one_line(head)} | " + " | ".join(written) + " |")
    return lines


def _one_line(head: Head) -> str:
    return f"{head.title} ({head.note})" if head.note else head.title


def _pairs(content: dict[str, int] | dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in content.items())
