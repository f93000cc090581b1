"""``crossray data pseudonyms``: which study, patient and film a pseudonym stands for, for those who hold the key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pseudonyms(
    source: Annotated[str, typer.Argument(help="The source that the store was prepared from.")],
    root: Annotated[Path, typer.Argument(help="The source's folder, or its manifest file.")],
    store: Annotated[Path, typer.Option(help="The de-identified store.")],
    out: Annotated[Path, typer.Option(help="CSV to write: kind, original, pseudonym. It identifies patients.")],
    key_file: Annotated[Path | None, typer.Option(help="The key that the source's ids were hashed with.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="An option that the source was prepared with. Repeatable.")
    ] = None,
) -> None:
    """Write the list that leads from pseudonyms back to patients, studies and films; keep it like the key."""
    from crossray.data.link_list import write_link_list
    from crossray.data.pseudonyms import find_key
    from crossray.data.sources.build import build_source
    from crossray.settings import apply_overrides

    built = build_source(source, root, apply_overrides({}, option or []))
    count = write_link_list(built, find_key(key_file, store=store, make=False).key, store, out)
    typer.echo(f"{out}: {count} ids. It identifies patients: keep it like the key, apart from the store.")
