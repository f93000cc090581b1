"""``crossray data twin``: a public set's layout, filled with phantom studies."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer


def twin(
    name: Annotated[str, typer.Argument(help="The source whose layout to write, such as mimic_cxr.")],
    out: Annotated[Path, typer.Option(help="The folder to fill; made if it is not there, and must be empty.")],
    count: Annotated[int, typer.Option(help="Number of studies.")] = 24,
    seed: Annotated[int, typer.Option(help="Decides everything drawn; the same seed gives the same files.")] = 0,
    size: Annotated[int, typer.Option(help="Long side of a film in pixels.")] = 96,
) -> None:
    """Write phantom studies in exactly the layout of a public data set, to try a command before a download.

    The films are drawn: nothing learnt on them says anything of patients.
    """
    from crossray.data.twins.build import write_twin
    from crossray.data.twins.material import TwinConfig
    from crossray.settings import build_settings

    config = build_settings(TwinConfig, {"count": count, "seed": seed, "size": size})
    expected = write_twin(name, out, config)
    counts = ", ".join(f"{number} {what}" for what, number in expected.counts.items())
    typer.echo(f"Wrote a twin of {name}: {counts}.")
    command = ["crossray", "data", "prepare", name, str(out), "--set", "expected_counts=twin", "--out", f"{out}-store"]
    typer.echo(f"Prepare it with: {shlex.join(command)}")
