"""``crossray info``: what is installed here."""

from __future__ import annotations

from typing import Annotated

import typer


def info(
    sbom: Annotated[
        bool, typer.Option("--sbom", help="The bill of materials instead: CycloneDX JSON of all it stands on.")
    ] = False,
) -> None:
    """Versions, threads, devices and which optional weights are installed: the first lines of a bug report."""
    if sbom:
        import json

        from crossray.dependencies import bill_of_materials

        typer.echo(json.dumps(bill_of_materials(("serve", "onnx")), indent=2))
        return
    from crossray.environment import describe_environment

    facts = describe_environment()
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")
