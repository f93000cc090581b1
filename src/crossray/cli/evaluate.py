"""``crossray evaluate``: score runs, put their floors beside them, or run a named suite; write table and report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from crossray.evaluation.evaluate import EvaluationRequest

_RUNS = "Run folders, or folders of them (one run for each fold)."
_TASKS = (
    "Comma-separated: retrieval, class_retrieval, zero_shot, grounding, probe, finetune, text_probe, joint_probe, "
    "floors."
)
_SET = "Change a setting, e.g. --set finetune.epochs=4 or --set protocol.draws=200."
_STORE = "Where the store is now, if it was moved: a folder or URL."
_SPLIT = "The split list, if it was moved."
_CELLS = "Folder of finished pieces, shared between evaluations so that floors are made once."
_ENSEMBLE = "Each path is a member of one ensemble: their scores are averaged. There is no HTML report then."
_SUITE = (
    "A named suite (localized18, prior5, benchx, joimternet, small_sets, iu-rr) or the id of a localized protocol, "
    "instead of --tasks."
)
_DATA = "For --suite: a prepared store, or a folder of stores named by their source; a folder or URL."
_ENCODER = "For --suite without a run: timm:NAME, random:NAME, or a file of weights (docs/localized.md)."
_DRY_RUN = "Only print every piece, whether it is done, and how long the rest would take."


def evaluate(
    out: Annotated[Path, typer.Option(help="Folder for results.json, results.csv, results.md and report.html.")],
    runs: Annotated[list[Path] | None, typer.Argument(help=_RUNS, show_default=False)] = None,
    tasks: Annotated[str, typer.Option(help=_TASKS)] = "retrieval,zero_shot,grounding,probe,finetune,floors",
    settings: Annotated[list[str] | None, typer.Option("--set", help=_SET, show_default=False)] = None,
    store: Annotated[str | None, typer.Option(help=_STORE, show_default=False)] = None,
    split: Annotated[str | None, typer.Option(help=_SPLIT, show_default=False)] = None,
    cells: Annotated[Path | None, typer.Option(help=_CELLS, show_default="OUT/cells")] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights: best or last.")] = "best",
    report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
    ensemble: Annotated[bool, typer.Option("--ensemble", help=_ENSEMBLE)] = False,
    suite: Annotated[str | None, typer.Option(help=_SUITE, show_default=False)] = None,
    data: Annotated[str | None, typer.Option(help=_DATA, show_default=False)] = None,
    image_encoder: Annotated[str | None, typer.Option(help=_ENCODER, show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=_DRY_RUN)] = False,
) -> None:
    """Score trained runs out-of-fold and compare them with their floors, or run a named suite.

    A stopped evaluation goes on where it was. Research only, not for diagnosis.
    """
    from crossray.evaluation.evaluate import EvaluationRequest

    request = EvaluationRequest(
        runs=tuple(runs or ()),
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
    if suite is not None:
        _run_suite(suite, request, data, image_encoder, dry_run)
    else:
        _run(request, data, image_encoder, dry_run)


def _run(request: EvaluationRequest, data: str | None, image_encoder: str | None, dry_run: bool) -> None:
    from crossray.errors import ConfigError

    if data is not None or image_encoder is not None:
        field = "--data" if data is not None else "--image-encoder"
        raise ConfigError("belongs to a suite.", field=field, remedy="Give --suite too, or leave it out.")
    if not request.runs:
        raise ConfigError("there is no run to evaluate.", remedy="Give its folder, or --suite and --image-encoder.")
    if dry_run:
        from crossray.evaluation.evaluation_forecast import NOT_COUNTED, forecast_evaluation
        from crossray.evaluation.forecast import forecast_lines

        typer.echo("\n".join(forecast_lines(forecast_evaluation(request), NOT_COUNTED)))
        return
    from crossray.evaluation.evaluate import evaluate_runs
    from crossray.evaluation.report import REPORT_FILE
    from crossray.evaluation.report.facts import headlines

    results = evaluate_runs(request, progress=_say)
    for figure in headlines(results):
        typer.echo(figure)
    page = f"; with films: {request.out / REPORT_FILE}" if (request.out / REPORT_FILE).is_file() else ""
    typer.echo(f"All numbers, by finding too: {request.out / 'results.md'}{page}")


def _run_suite(
    name: str, request: EvaluationRequest, data: str | None, image_encoder: str | None, dry_run: bool
) -> None:
    from crossray.evaluation.forecast import forecast_lines
    from crossray.evaluation.named_suite import NamedSuite

    suite = NamedSuite.of(name, request, data, image_encoder)
    if dry_run:
        typer.echo("\n".join(forecast_lines(suite.forecast(), suite.not_counted)))
        return
    for table in suite.run(_say):
        typer.echo(table.read_text(encoding="utf-8"))
    typer.echo(f"Written: {request.out}")


def _say(line: str) -> None:
    typer.echo(line, err=True)
