"""``crossray pretrain``: train what a recipe says, or go on with the run that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe.")],
    out: Annotated[Path, typer.Option(help="The run: a folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Laid over the recipe.")
    ] = None,
    profile: Annotated[
        int,
        typer.Option(min=0, metavar="STEPS", help="Trace so many steps: OUT/profile/summary.md says what took time."),
    ] = 0,
) -> None:
    """Pretrain on film-report pairs. Killed or stopped and called again, it goes on where it was.

    SIGTERM or Ctrl-C saves the run after the current step; the command then ends with exit code 143 or 130.
    """
    from crossray.evaluation.validator import RetrievalValidator
    from crossray.training.pretrain import pretrain as run_recipe
    from crossray.training.recipe import load_recipe

    summary = run_recipe(
        load_recipe(recipe, overrides or ()), out, validator=RetrievalValidator(), profile_steps=profile
    )
    code = 128 + (summary.signal or 15) if summary.outcome == "interrupted" else 0
    if not summary.first_process:
        raise typer.Exit(code)
    if summary.left_out:
        typer.echo(f"{summary.left_out} studies of the split make no pair: see {out / 'left_out.csv'}.")
    if summary.outcome == "interrupted":
        typer.echo(f"Stopped by a signal after step {summary.steps}, saved. The same command goes on from there.")
        raise typer.Exit(code)
    best = f"best {summary.metric} {summary.best:.4g} at step {summary.best_step}"
    typer.echo(f"{out}: {summary.outcome} after {summary.epochs} epochs, {summary.steps} steps; {best}.")
