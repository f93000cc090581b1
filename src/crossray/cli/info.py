"""``crossray info``: what is installed here, or what a run is."""

from __future__ import annotations

from typing import Annotated

import typer

_RUN = "A run folder, or the hub id of one (it is fetched). Without it: this installation."


def info(
    run: Annotated[str | None, typer.Argument(help=_RUN, show_default=False)] = None,
    revision: Annotated[
        str | None, typer.Option(help="Of a hub id: commit, tag or branch.", show_default=False)
    ] = None,
    sbom: Annotated[
        bool, typer.Option("--sbom", help="The bill of materials instead: CycloneDX JSON of all it stands on.")
    ] = False,
) -> None:
    """Versions, threads, devices and which optional weights are installed: the first lines of a bug report.

    Of a run: method, hashes of weights, store and split, and the commit if it is from the hub.
    """
    if sbom:
        import json

        from crossray.dependencies import bill_of_materials

        typer.echo(json.dumps(bill_of_materials(("serve", "onnx")), indent=2))
        return
    if run is not None:
        from crossray.inference.describe import describe_run
        from crossray.inference.hub import local_run

        facts = describe_run(local_run(run, revision))
    else:
        from crossray.environment import describe_environment

        facts = describe_environment()
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")
