"""The ``crossray`` command. Only typer is imported here; each command imports its room when it runs."""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

import crossray
from crossray.cli.calibrate import calibrate
from crossray.cli.compare import compare
from crossray.cli.data_audit import audit
from crossray.cli.data_cache import cache
from crossray.cli.data_class_list import class_list
from crossray.cli.data_describe import describe
from crossray.cli.data_manifest import manifest
from crossray.cli.data_prepare import prepare
from crossray.cli.data_pseudonyms import pseudonyms
from crossray.cli.data_split import split
from crossray.cli.data_streamable import streamable
from crossray.cli.data_template import template
from crossray.cli.data_twin import twin
from crossray.cli.data_verify import verify
from crossray.cli.demo import demo
from crossray.cli.doctor import doctor
from crossray.cli.embed import embed
from crossray.cli.evaluate import evaluate
from crossray.cli.export import export
from crossray.cli.grid import grid
from crossray.cli.index import build as build_index
from crossray.cli.info import info
from crossray.cli.localized import localized
from crossray.cli.pretrain import pretrain
from crossray.cli.reproduce import reproduce
from crossray.cli.search import search
from crossray.cli.serve import serve
from crossray.cli.stopping import end_on_sigterm, now_runs
from crossray.cli.transfer import transfer
from crossray.cli.verify import verify as verify_all

app = typer.Typer(
    name="crossray",
    help="Learn image and text representations together from chest X-rays and their reports. "
    "Research only, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(
    help="Prepare, describe, verify and split data.", no_args_is_help=True, rich_markup_mode=None, callback=now_runs
)
app.add_typer(data_app, name="data")
index_app = typer.Typer(
    help="Make films and reports searchable.", no_args_is_help=True, rich_markup_mode=None, callback=now_runs
)
app.add_typer(index_app, name="index")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crossray {crossray.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    now_runs(context)


# One line a command, in the order in which a user meets them. Each function lives in its own thin file.
app.command()(demo)
app.command()(pretrain)
app.command()(evaluate)
app.command()(calibrate)
app.command()(transfer)
app.command()(localized)
app.command()(grid)
app.command()(compare)
index_app.command("build")(build_index)
app.command()(search)
app.command()(serve)
app.command()(embed)
app.command()(export)
app.command()(reproduce)
app.command("verify")(verify_all)
app.command()(doctor)
app.command()(info)
data_app.command("template")(template)
data_app.command("manifest")(manifest)
data_app.command("prepare")(prepare)
data_app.command("pseudonyms")(pseudonyms)
data_app.command("describe")(describe)
data_app.command("verify")(verify)
data_app.command("audit")(audit)
data_app.command("split")(split)
data_app.command("class-list")(class_list)
data_app.command("streamable")(streamable)
data_app.command("cache")(cache)
data_app.command("twin")(twin)


def _on_this_machine(command: Callable[..., object]) -> Callable[..., object]:
    """The command, saying in words that a folder or file is meant where an address was given for one."""

    @wraps(command)
    def checked(**given: object) -> object:
        for name, value in given.items():
            for place in value if isinstance(value, list) else [value]:
                if isinstance(place, Path) and _ADDRESS.match(str(place)):
                    _refuse_address(name, str(place))
        return command(**given)

    return checked


#: What a path makes of ``https://``.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.:-]+:/[^/]")


def _refuse_address(name: str, place: str) -> None:
    from crossray.data.streaming.remote import without_secrets
    from crossray.errors import ConfigError

    raise ConfigError(
        "is an address; a folder or file of this machine is needed.",
        file=without_secrets(place.replace(":/", "://", 1)),
        field=name,
        remedy="Only stores are read over a network. Copy it here, or run the command where it lies.",
    )


for _registered in (*app.registered_commands, *data_app.registered_commands, *index_app.registered_commands):
    if _registered.callback is not None:
        _registered.callback = _on_this_machine(_registered.callback)


def main() -> None:
    """Run the command line; a user's mistake ends in one message and exit code 2, never a stack trace.

    SIGTERM is told too, and unwinds: half-written files are removed, what is finished stays. Exit code 143.
    """
    from crossray.errors import CrossRayError

    end_on_sigterm()
    warnings.formatwarning = _note
    # A process that is lost is told in one message; without this torch prints its own C++ frames beside it.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        app()
    except CrossRayError as error:
        _refuse(str(error))
    except OSError as error:
        # The machine's refusals are no bug of ours; every other OSError is, and keeps its stack trace.
        if error.errno not in _REFUSALS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _refuse(f"{place}{error.strerror}. {_REFUSALS[error.errno]}")


_REFUSALS = {
    errno.ENOSPC: "Free some space and run the command again: what was complete before is still whole.",
    errno.EDQUOT: "Free some of your quota and run the command again: what was complete before is still whole.",
    errno.EROFS: "Choose a folder that can be written.",
    errno.EACCES: "Choose a folder that you may write, or ask for the right to.",
}


def _note(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """A warning of ours as one line; one of another library with its place, which is all that explains it."""
    ours = Path(__file__).parents[1] in Path(filename).parents
    return f"note: {message}\n" if ours else f"note: {message} ({category.__name__}, {filename}:{lineno})\n"


def _refuse(message: str) -> None:
    typer.echo(f"crossray: {message}", err=True)
    sys.exit(2)
