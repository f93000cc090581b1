"""``crossray compare``: several evaluations in one table, with intervals and paired differences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_RESULTS = "Results folders, as FOLDER or NAME=FOLDER (one name, several seeds), or the folder of a grid."
_REFERENCE = "Entry or floor that differences are taken to."
_GRID = "A grid whose entries are taken, in its order; differences are to the entry that each is of."
_METRICS = "Pattern of metrics, task/metric/target, e.g. 'retrieval/R@*' or 'probe/AUROC/mean*'. Repeatable."


def compare(
    results: Annotated[list[str], typer.Argument(help=_RESULTS, show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for compare.json, table.md, .csv, .tex and figure.png, .svg.")],
    reference: Annotated[str | None, typer.Option(help=_REFERENCE, show_default="the first entry")] = None,
    grid: Annotated[Path | None, typer.Option(help=_GRID, show_default=False)] = None,
    metrics: Annotated[list[str] | None, typer.Option(help=_METRICS, show_default="the headlines")] = None,
) -> None:
    """Compare evaluations of one protocol, split and store: values, intervals, paired bootstrap differences.

    Research only, not for diagnosis.
    """
    from crossray.evaluation.comparison.compare import ComparisonRequest
    from crossray.evaluation.comparison.compare import compare as run_compare
    from crossray.grid.config import load_grid
    from crossray.grid.results import bases_of, sources_of

    wanted = None if grid is None else load_grid(grid)
    sources = sources_of(results, None if wanted is None else list(wanted.config.entries))
    bases = {} if wanted is None or reference is not None else bases_of(wanted)
    run_compare(ComparisonRequest(sources, out, reference, metrics or (), bases))
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
    typer.echo(f"Written: {out}")
