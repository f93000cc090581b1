"""``crossray reproduce``: a finished run once more, compared bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def reproduce(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    out: Annotated[Path, typer.Option(help="Folder for the second run.")],
    store: Annotated[str | None, typer.Option(help="Where the store is now, if it was moved.")] = None,
    split: Annotated[str | None, typer.Option(help="The split list, if it was moved.")] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on though code, data or environment are not those of the run.")
    ] = False,
) -> None:
    """Train a run again from what it stores and compare weights and log bit for bit; exit code 1 if they differ.

    Refused if the code, the store, the split, versions, device, threads or processes differ from those of the run.
    """
    from crossray.reproduce import reproduce as reproduce_run

    summary, compared = reproduce_run(run, out, store=store, split=split, anyway=anyway)
    if summary.outcome == "interrupted":
        typer.echo(f"Stopped by a signal after step {summary.steps}, saved. The same command goes on from there.")
        raise typer.Exit(128 + (summary.signal or 15))
    for one in compared:
        typer.echo(one.line)
    different = [one for one in compared if one.difference is not None]
    if different:
        typer.echo(f"{out} is not {run}: {len(different)} of {len(compared)} files differ.")
        raise typer.Exit(1)
    if summary.first_process:
        typer.echo(f"{out} is {run} again: {summary.steps} steps, {len(compared)} files bit-equal but for their speed.")
