"""``crossray data prepare``: from a source to a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from crossray.data.prepare import PrepareSummary


def prepare(
    source: Annotated[str, typer.Argument(help="iu_xray, folder, phantom, or a public set (docs/data-sets.md).")],
    root: Annotated[Path | None, typer.Argument(help="The source's folder, or its manifest file.")] = None,
    out: Annotated[Path, typer.Option(help="The store to make: a folder.")] = Path("store"),
    size: Annotated[int, typer.Option(help="Side of the prepared square, in pixels.")] = 256,
    views: Annotated[str, typer.Option(help="Views to keep, with commas: frontal,lateral,unknown.")] = "frontal",
    labels: Annotated[str, typer.Option(help="source: the source's own; rules: read from the report text.")] = "source",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the source, as key=value (count=400). Repeatable.")
    ] = None,
    deidentify: Annotated[
        str, typer.Option(help="on, off, or auto: on for 'folder', off for published sets (docs/deidentification.md).")
    ] = "auto",
    key_file: Annotated[Path | None, typer.Option(help="The key that ids are hashed with; made if missing.")] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="1/4: make only this share; called without it at last, the store is put together."),
    ] = None,
) -> None:
    """Prepare films and reports into a store; killed and called again, it goes on where it was."""
    from crossray.data.deidentify import deidentified
    from crossray.data.prepare import PrepareConfig, Share, prepare_share, prepare_store
    from crossray.data.progress import film_progress
    from crossray.data.sources.build import build_source
    from crossray.settings import apply_overrides, build_settings

    wanted = [view.strip() for view in views.split(",") if view.strip()]
    config = build_settings(PrepareConfig, {"size": size, "views": wanted, "labels": labels})
    built = build_source(source, root, apply_overrides({}, option or []))
    built, key = deidentified(built, deidentify, key_file, out)
    if key is not None:
        told = "was made just now: keep it, and keep it apart from the store" if key.made else "is used"
        typer.echo(f"Ids become keyed hashes; the key in {key.place} {told}.")
    if shard is not None:
        with film_progress() as show:
            made = prepare_share(built, out, config, Share.of(shard), workers, show)
        typer.echo(f"Share {shard}: {made} shards are made. Call it without --shard when all shares are.")
        return
    with film_progress() as show:
        summary = prepare_store(built, out, config, workers, show)
    _tell(summary, out)


def _tell(summary: PrepareSummary, out: Path) -> None:
    if summary.up_to_date:
        typer.echo(f"{out} is up to date: same source, same settings.")
    if summary.changes:
        typer.echo(f"{out} was stale and is made anew: {'; '.join(summary.changes)}.")
    typer.echo("\n".join(summary.funnel.lines()))
    typer.echo(
        f"Store {out}: {summary.manifest.studies} studies, {summary.manifest.films} films, "
        f"hash {summary.manifest.hash[:12]}. What was left out and why: {out / 'quarantine.csv'}"
    )
