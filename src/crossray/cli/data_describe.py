"""``crossray data describe``: what a store holds."""

from __future__ import annotations

from typing import Annotated

import typer


def describe(
    store: Annotated[str, typer.Argument(help="A prepared store: its folder or URL.")],
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Print counts, views, label prevalence, text lengths and the filter funnel of a store."""
    from json import dumps

    from crossray.data.describe import as_json, describe_store, description_lines
    from crossray.data.store import Store

    description = describe_store(Store.open(store, every_value=True))
    typer.echo(dumps(as_json(description), indent=2) if json else "\n".join(description_lines(description)))
