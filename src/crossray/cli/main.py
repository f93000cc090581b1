"""The ``crossray`` command. Only typer is imported here; each command imports its room when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import crossray

app = typer.Typer(
    name="crossray",
    help="Learn image and text representations together from chest X-rays and their reports. "
    "Research only, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Prepare, describe, verify and split data.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crossray {crossray.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a user's mistake ends in one message and exit code 2, never a stack trace."""
    from crossray.errors import CrossRayError

    try:
        app()
    except CrossRayError as error:
        typer.echo(f"crossray: {error}", err=True)
        sys.exit(2)
