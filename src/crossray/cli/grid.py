"""``crossray grid``: many runs from one file, pretrained and evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_DRY = "Show what is done and what is to do, and do nothing."
_TASKS = "These tasks of its evaluation alone, with commas; called without it, the rest is added."
_MINUTES = "Save and end after so many minutes."


def grid(
    file: Annotated[Path, typer.Argument(metavar="GRID", help="A YAML grid.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for runs, results and cells.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Laid over every entry's recipe.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=_DRY)] = False,
    only: Annotated[str | None, typer.Option(help="These entries alone, with commas.", show_default=False)] = None,
    seeds: Annotated[
        str | None, typer.Option(help="These of its seeds alone, with commas.", show_default=False)
    ] = None,
    tasks: Annotated[str | None, typer.Option(help=_TASKS, show_default=False)] = None,
    until_minutes: Annotated[float | None, typer.Option(min=0, help=_MINUTES, show_default=False)] = None,
) -> None:
    """Pretrain every entry with every seed on every fold, and evaluate each. What is done is skipped.

    Killed or stopped and called again, it goes on where it was. A run that fails is recorded in failures.jsonl and
    the others go on. Exit code: 0 all done, 1 something failed, 3 time is up, 130 or 143 stopped by a signal.
    """
    from crossray.grid.config import load_grid
    from crossray.grid.run import plan_lines, run_grid

    wanted = load_grid(file, overrides or ())
    if tasks is not None:
        wanted = wanted.with_tasks(tasks.split(","))
    if seeds is not None:
        wanted = wanted.with_seeds(seeds.split(","))
    if dry_run:
        typer.echo("\n".join(plan_lines(wanted, out, only)))
        return
    outcome = run_grid(wanted, out, say=typer.echo, only=only, minutes=until_minutes)
    raise typer.Exit(outcome.exit_code)
