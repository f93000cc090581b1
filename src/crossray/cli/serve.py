"""``crossray serve``: a run in the browser and over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossray.cli.stopping import end_on_sigterm


def serve(
    run: Annotated[Path, typer.Argument(help="The run to serve.")],
    also: Annotated[Path | None, typer.Option(help="A second run, to compare side by side.")] = None,
    index: Annotated[
        Path | None, typer.Option(help="An index of RUN (crossray index build): shows nearest reports and finds films.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="The index's store, if it was moved: folder or URL.")] = None,
    host: Annotated[str, typer.Option(help="Address; any but loopback needs --token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.", min=1, max=65535)] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="CROSSRAY_TOKEN", help="Asked of every visitor; 16 or more letters and digits.")
    ] = None,
) -> None:
    """Open films in the browser, ask where sentences point, find neighbours. Research only, not for diagnosis."""
    from crossray.serve.run_server import ServeConfig
    from crossray.serve.run_server import serve as run_server

    end_on_sigterm("stopped serving.")
    typer.echo("Research only, not for diagnosis. Loading ...")
    run_server(
        ServeConfig(run, also, index, store, host, port, token),
        ready=lambda address: typer.echo(f"CrossRay on {address}  Stop it with Ctrl+C."),
    )
