"""``crossray data cache``: what stores at URLs left on this machine's disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_CACHE = "Its folder; CROSSRAY_CACHE, or ~/.cache/crossray, without it."


def cache(
    folder: Annotated[Path | None, typer.Option("--folder", help=_CACHE, show_default=False)] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Remove all that no process is reading.")] = False,
) -> None:
    """Show the films and tables that are kept of stores at URLs, or remove them: they are fetched again when needed."""
    from datetime import UTC, datetime

    from crossray.data.streaming.cache_room import CacheRoom
    from crossray.data.streaming.settings import StreamSettings

    settings = StreamSettings(cache=str(folder) if folder is not None else None)
    if not settings.folder.is_dir():
        typer.echo(f"{settings.folder}: there is no cache.")
        return
    room = CacheRoom(settings)
    if empty:
        room.empty()
    found = room.contents()
    total = found.block_bytes + sum(store.bytes for store in found.stores)
    typer.echo(f"{settings.folder}: {total / 1e6:.1f} MB of at most {room.most_bytes / 1e6:.0f} MB")
    typer.echo(f"  films: {found.blocks} blocks, {found.block_bytes / 1e6:.1f} MB")
    for store in sorted(found.stores, key=lambda store: -store.used_ns):
        used = datetime.fromtimestamp(store.used_ns / 1e9, UTC).isoformat(" ", "minutes")
        reader = ", being read" if store.in_use else ""
        typer.echo(f"  tables of {store.url}: {store.bytes / 1e6:.1f} MB, opened {used}{reader}")
