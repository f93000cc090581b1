"""``crossray calibrate``: zero-shot scores of a run into probabilities, for Python, HTTP and the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_RUNS = "Run folders, or folders of them (one run for each fold)."
_BANK = "Prompts: a shipped bank's name or a YAML file. The viewer uses chexpert-v1."


def calibrate(
    runs: Annotated[list[Path], typer.Argument(help=_RUNS)],
    store: Annotated[str | None, typer.Option(help="Where the store is now, if it was moved: a folder or URL.")] = None,
    split: Annotated[str | None, typer.Option(help="The split list, if it was moved.")] = None,
    checkpoint: Annotated[str, typer.Option(help="Whose scores: best or last.")] = "best",
    bank: Annotated[str, typer.Option(help=_BANK)] = "chexpert-v1",
) -> None:
    """Fit probabilities on a run's validation side, measure them on its test side, and keep them in the run's folder.

    They hold for films like those only. Research only, not for diagnosis.
    """
    from crossray.evaluation.calibrate import calibrate_runs, calibration_lines

    def say(line: str) -> None:
        typer.echo(line, err=True)

    found = calibrate_runs(runs, store=store, split=split, checkpoint=checkpoint, bank=bank, progress=say)
    for run, calibration in found.items():
        typer.echo("\n".join(calibration_lines(calibration)))
        typer.echo(f"Written: {run / 'calibration.json'}")
