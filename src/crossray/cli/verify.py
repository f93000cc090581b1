"""``crossray verify``: whether stores, runs, indexes and results are the ones that were written."""

from __future__ import annotations

from typing import Annotated

import typer


def verify(
    path: Annotated[
        str, typer.Argument(help="A store (also its URL), run, index, results folder or split list, or a folder above.")
    ],
) -> None:
    """Hash everything again and list what is missing, cut short or altered; exit code 1 if anything is."""
    from crossray.data.streaming.mirror import store_folder
    from crossray.verify import verify as verify_path

    verdicts = verify_path(store_folder(path))
    for verdict in verdicts:
        typer.echo("\n".join(verdict.lines()))
    if any(verdict.damages for verdict in verdicts):
        raise typer.Exit(1)
