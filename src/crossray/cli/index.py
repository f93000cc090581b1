"""``crossray index build``: make the films and reports of a store searchable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_KIND = "exact compares everything; ivf and hnsw are approximate; auto is exact up to two million vectors."


def build(
    run: Annotated[Path, typer.Argument(help="The run whose model embeds.")],
    store: Annotated[str, typer.Argument(help="A prepared store: its folder or URL.")],
    out: Annotated[Path, typer.Option(help="Folder for the index; an earlier one there is brought up to date.")],
    kind: Annotated[Literal["auto", "exact", "ivf", "hnsw"], typer.Option(help=_KIND)] = "auto",
    checkpoint: Annotated[str, typer.Option(help="Which weights: best or last.")] = "best",
    batch_size: Annotated[int, typer.Option(help="Films embedded at once.", min=1)] = 32,
) -> None:
    """Embed the films and reports of a store and index them. Research only, not for diagnosis."""
    from crossray.data.progress import film_progress
    from crossray.inference.search.build import build_index

    with film_progress() as show:
        summary = build_index(run, store, out, checkpoint=checkpoint, kind=kind, batch_size=batch_size, progress=show)
    manifest = summary.manifest
    for side, count in (("films", manifest.films), ("reports", manifest.reports)):
        typer.echo(f"{count} {side}, {summary.embedded.get(side, 0)} of them embedded now")
    typer.echo(f"Written: {out} ({manifest.kind}, {manifest.dimension} numbers a vector)")
