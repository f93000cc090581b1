"""``crossray demo``: all of it on phantom films, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Laid over the demo's recipe.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the store, the run and the report.")] = Path("demo"),
    studies: Annotated[int, typer.Option(help="How many phantom studies to draw.")] = 1300,
) -> None:
    """Draw phantom studies, train a small model on them, evaluate it, and write a report.

    Takes two to six minutes on two cores without a GPU. Stopped and called again, it goes on where it was.
    """
    from crossray.data.progress import film_progress
    from crossray.demo import DemoConfig, run_demo
    from crossray.settings import build_settings

    config = build_settings(DemoConfig, {"studies": studies, "overrides": tuple(overrides or ())})
    outcome = run_demo(out, config, say=typer.echo, progress=film_progress)
    if outcome.report is None:
        typer.echo("Stopped by a signal, saved. The same command goes on from there.")
        raise typer.Exit(128 + (outcome.summary.signal or 15))
    typer.echo()
    for figure in outcome.headlines:
        typer.echo(figure)
    typer.echo(f"The report, with films and the words that were found in them: {outcome.report}")
