"""``crossray data template``: an example of the manifest format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def template(folder: Annotated[Path, typer.Argument(help="Where to write it; made if it is not there.")]) -> None:
    """Write an example manifest with a few phantom films, to look at and to overwrite with your own."""
    from crossray.data.template import write_template

    manifest = write_template(folder)
    typer.echo(f"Wrote {manifest} and its films.")
    typer.echo(f"Prepare it with: crossray data prepare folder {folder} --out {folder}-store")
