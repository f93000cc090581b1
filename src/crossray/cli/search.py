"""``crossray search``: films and reports that are near to words or to a film."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_RUN = "The run that the index was made with, if it was moved."
_STORE = "The store that the index was made from, if it was moved (folder or URL): reports are shown from it."


def search(
    index: Annotated[Path, typer.Argument(help="Folder of crossray index build.")],
    text: Annotated[str | None, typer.Option(help="A sentence or report, as a radiologist would write it.")] = None,
    image: Annotated[Path | None, typer.Option(help="A film: DICOM, PNG or JPEG.")] = None,
    side: Annotated[Literal["films", "reports"], typer.Option(help="What to look for.")] = "films",
    k: Annotated[int, typer.Option("-k", help="How many.", min=1)] = 10,
    run: Annotated[Path | None, typer.Option(help=_RUN, show_default=False)] = None,
    store: Annotated[str | None, typer.Option(help=_STORE, show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Find the nearest films or reports, best first. Research only, not for diagnosis.

    The score is a cosine in the joint space: it orders candidates and is no probability.
    """
    from crossray.inference.search.query import Query, found_as_json, found_lines, search_for

    found = search_for(index, Query(text=text, image=image, side=side, k=k), run=run, store=store)
    typer.echo(found_as_json(found) if json else "\n".join(found_lines(found)))
