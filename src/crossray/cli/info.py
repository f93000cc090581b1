"""``crossray info``: what is installed here."""

from __future__ import annotations

import typer


def info() -> None:
    """Versions, threads, devices and which optional weights are installed: the first lines of a bug report."""
    from crossray.environment import describe_environment

    facts = describe_environment()
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")
