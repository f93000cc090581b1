"""``crossray data verify``: whether a store is whole and up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(
    store: Annotated[str, typer.Argument(help="A prepared store: its folder or URL.")],
    root: Annotated[
        Path | None, typer.Option("--source", help="The source's folder: also tell whether it changed since.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="An option that the source was prepared with. Repeatable.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="The key that the source's ids were hashed with.")] = None,
) -> None:
    """Hash every file of a store and compare with what was written."""
    from crossray.data.pseudonyms import find_key
    from crossray.data.sources.build import build_source
    from crossray.data.sources.deidentified import DeidentifiedSource
    from crossray.data.store_manifest import read_manifest
    from crossray.data.streaming.mirror import store_folder
    from crossray.data.verify import verify_store
    from crossray.errors import StoreError
    from crossray.settings import apply_overrides

    options = apply_overrides({}, option or [])
    folder = store_folder(store)
    inputs = read_manifest(folder).inputs
    source = build_source(inputs.source, root, options) if root is not None else None
    if source is not None and inputs.pseudonym_key:
        source = DeidentifiedSource(source, find_key(key_file, store=folder, make=False).key)
    found = verify_store(folder, source)
    typer.echo(f"{store} is whole: {found.files} files, {found.bytes / 1e6:.1f} MB, every sha256 as written.")
    if found.changes:
        raise StoreError(
            f"is stale: {'; '.join(found.changes)}.", file=store, remedy="Run 'crossray data prepare' again."
        )
