"""``crossray evaluate``: score runs, put their floors beside them, write table and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_RUNS = "Run folders, or folders of them (one run for each fold)."
_TASKS = "Comma-separated: retrieval, class_retrieval, zero_shot, grounding, probe, finetune, floors."
_SET = "Change a setting, e.g. --set finetune.epochs=4 or --set protocol.draws=200."
_STORE = "Where the store is now, if it was moved."
_SPLIT = "The split list, if it was moved."
_CELLS = "Folder of finished pieces, shared between evaluations so that floors are made once."
_ENSEMBLE = "Each path is a member of one ensemble: their scores are averaged. There is no HTML report then."


def evaluate(
    runs: Annotated[list[Path], typer.Argument(help=_RUNS, show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for results.json, results.csv, results.md and report.html.")],
    tasks: Annotated[str, typer.Option(help=_TASKS)] = "retrieval,zero_shot,grounding,probe,finetune,floors",
    settings: Annotated[list[str] | None, typer.Option("--set", help=_SET, show_default=False)] = None,
    store: Annotated[Path | None, typer.Option(help=_STORE, show_default=False)] = None,
    split: Annotated[str | None, typer.Option(help=_SPLIT, show_default=False)] = None,
    cells: Annotated[Path | None, typer.Option(help=_CELLS, show_default="OUT/cells")] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights: best or last.")] = "best",
    report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
    ensemble: Annotated[bool, typer.Option("--ensemble", help=_ENSEMBLE)] = False,
) -> None:
    """Score trained runs out-of-fold and compare them with their floors.

    A stopped evaluation goes on where it was. Research only, not for diagnosis.
    """
    from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs

    request = EvaluationRequest(
        runs=tuple(runs),
        out=out,
        tasks=tasks,
        settings=tuple(settings or ()),
        store=store,
        split=split,
        cells=cells,
        checkpoint=checkpoint,
        report=report,
        ensemble=ensemble,
    )
    evaluate_runs(request, progress=lambda line: typer.echo(line, err=True))
    typer.echo((out / "results.md").read_text(encoding="utf-8"))
    typer.echo(f"Written: {out}")
