"""``crossray compare`` from its request to its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossray.evaluation.comparison.columns import choose_columns
from crossray.evaluation.comparison.entries import Source, provenance_of, read_entries
from crossray.evaluation.comparison.facts import facts_of
from crossray.evaluation.comparison.table import Comparison, compare_entries, compare_to_bases
from crossray.evaluation.comparison.write import write_tables


@dataclass(frozen=True)
class ComparisonRequest:
    """What to compare and where to write it.

    Attributes:
        sources: results folders with the names of their entries.
        out: gets ``compare.json``, ``table.{md,csv,tex}`` and ``figure.{png,svg}``.
        reference: the entry or floor that differences are taken to; the first entry by default.
        bases: entry → the entry that its difference is taken to instead; lines that are not in it then have none.
        metrics: patterns ``task/metric/target``; the headlines by default.
    """

    sources: Sequence[Source]
    out: Path
    reference: str | None = None
    metrics: Sequence[str] = ()
    bases: Mapping[str, str] = field(default_factory=dict)


def compare(request: ComparisonRequest) -> Comparison:
    """Read, align, compare, and write tables and figure.

    Raises:
        DataError: a folder holds no results or no draws.
        ConfigError: the results do not align, or a name is unknown.
    """
    entries = read_entries(request.sources)
    columns = choose_columns(entries, request.metrics)
    level = provenance_of(entries).level
    if request.bases:
        comparison = compare_to_bases(entries, columns, level, request.bases)
    else:
        comparison = compare_entries(entries, columns, level, request.reference)
    facts = facts_of(entries, comparison)
    write_tables(comparison, facts, request.out)
    from crossray.evaluation.comparison.figure import write_figure  # matplotlib takes its time to import

    write_figure(comparison, facts, request.out)
    return comparison
