"""Localized results as one Markdown document: a line a protocol, then everything of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossray.evaluation.localized.table import LocalizedResults, LocalizedRow
from crossray.evaluation.segmentation.scores import MODEL


def markdown(results: LocalizedResults) -> str:
    """The document; numbers are per cent."""
    provenance = results.provenance
    protocols = list(dict.fromkeys(row.protocol for row in results.rows))
    lines = [
        f"# Localized evaluation: {provenance.suite}, {provenance.model}",
        "",
        "Research only, not for diagnosis. Numbers are per cent, means over runs. In brackets: "
        f"{100 * provenance.level:g} % interval by bootstrap over patients of the test side, {provenance.draws} draws. "
        "±: LoVT's half-width over runs, 1.96 s / √runs. std: over runs, BenchX's ±, divided by their number.",
        "",
        *_headlines([results.headline(protocol) for protocol in protocols]),
        "",
        *(f"- {name}: not run, {reason}" for name, reason in provenance.skipped.items()),
        f"- trunk `{provenance.trunk_hash[:16]}`, command: `{provenance.command}`",
        f"- {provenance.date}; " + ", ".join(f"{name} {version}" for name, version in provenance.versions.items()),
    ]
    for protocol in protocols:
        lines += ["", *_everything_of([row for row in results.rows if row.protocol == protocol])]
    return "\n".join(lines) + "\n"


def _headlines(rows: Sequence[LocalizedRow]) -> list[str]:
    columns = ("protocol", "preset", "metric", "value", "std", "seeds", "films, train / validation / test", "split")
    lines = [
        "| " + " | ".join([*columns, "changed"]) + " |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        films = f"{row.train} / {row.validation} / {row.n}"
        split = f"{row.split} `{row.split_hash[:12]}`"
        std = "–" if row.std is None else f"{100 * row.std:.2f}"
        cells = (row.protocol, row.preset, _metric(row), _value(row), std, row.seeds, films, split)
        lines.append("| " + " | ".join([*cells, row.changed or "–"]) + " |")
    return lines


def _everything_of(rows: Sequence[LocalizedRow]) -> list[str]:
    first = rows[0]
    table = table_of(rows)
    changed = f", changed: {first.changed}" if first.changed else ""
    lines = [
        f"## {first.protocol} ({first.preset}{changed})",
        "",
        f"Store of `{first.source}` `{first.store_hash[:12]}`; learning rate {first.learning_rate:g}, "
        f"batches of {first.batch_size}.",
        "",
        "| metric | " + " | ".join(table.predictors) + " |",
        "| --- |" + " ---: |" * len(table.predictors),
    ]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in table.lines]
    return lines


@dataclass(frozen=True)
class RowTable:
    """Metrics down, predictors across: a name and a cell for each predictor in every line."""

    predictors: list[str]
    lines: list[tuple[str, list[str]]]


def table_of(rows: Sequence[LocalizedRow]) -> RowTable:
    """Everything of one protocol."""
    table = RowTable(list(dict.fromkeys(row.predictor for row in rows)), [])
    by_place = {(row.metric, row.target, row.predictor): row for row in rows}
    for metric, target in dict.fromkeys((row.metric, row.target) for row in rows):
        found = [by_place.get((metric, target, predictor)) for predictor in table.predictors]
        named = next(row for row in found if row is not None)
        table.lines.append((_metric(named), ["" if row is None else _value(row) for row in found]))
    return table


def _metric(row: LocalizedRow) -> str:
    of = f" (n⁺ {row.positives} of {row.n})" if row.positives is not None else ""
    return f"{row.metric}, {row.target}{of}"


def _value(row: LocalizedRow) -> str:
    if row.value is None:
        return "–"
    text = f"{100 * row.value:.1f}"
    if row.low is not None and row.high is not None and row.predictor == MODEL:
        text += f" [{100 * row.low:.1f} to {100 * row.high:.1f}]"
    return text if row.half_width is None else f"{text} ± {100 * row.half_width:.1f}"
