"""``crossray data audit``: what a store or a folder of DICOM files gives away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def audit(
    path: Annotated[str, typer.Argument(help="A prepared store (its folder or URL), or a folder of DICOM files.")],
    split: Annotated[str | None, typer.Option(help="A split list: what stands on two of its sides.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Look for leaks between sides and for what identifies patients; ends with 1 if something must be dealt with."""
    from crossray.data.audit.dicom_audit import audit_dicom
    from crossray.data.audit.store_audit import audit_store
    from crossray.data.split_files import read_split
    from crossray.data.store import Store
    from crossray.data.store_manifest import MANIFEST_NAME
    from crossray.data.streaming.settings import is_url
    from crossray.errors import ConfigError

    if is_url(path) or (Path(path) / MANIFEST_NAME).is_file():
        found = audit_store(Store.open(path, every_value=True), read_split(split) if split is not None else None)
    elif split is not None:
        raise ConfigError("a split list belongs to a store.", file=path, field="--split", remedy="Leave it out.")
    else:
        found = audit_dicom(Path(path))
    typer.echo(found.as_json() if json else "\n".join(found.lines()))
    if not found.passed:
        raise typer.Exit(1)
