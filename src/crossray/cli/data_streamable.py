"""``crossray data streamable``: make a store readable by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def streamable(store: Annotated[Path, typer.Argument(help="The folder of a prepared store.")]) -> None:
    """Write an index of a store's films into it, so that a copy of it on a web or object server is read by URL."""
    from crossray.data.streaming.streamable import make_streamable

    shards = make_streamable(store)
    typer.echo(f"{store}: {shards} shards have an index. Copy the folder to a server, and give its URL as a store.")
