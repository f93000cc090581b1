"""``crossray export``: a run's model for other libraries and other people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_TO = "safetensors: encoders for timm and transformers; torchvision: ResNets; onnx; hub-folder: for JointModel.load."


def export(
    run: Annotated[Path, typer.Argument(help="A trained run.")],
    to: Annotated[Literal["safetensors", "torchvision", "onnx", "hub-folder"], typer.Option(help=_TO)],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    results: Annotated[
        Path | None, typer.Option(help="Of crossray evaluate, for the card.", show_default=False)
    ] = None,
    licence: Annotated[str | None, typer.Option(help="For the card.", show_default=False)] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights: best or last.")] = "best",
) -> None:
    """Write the model of a run and a card, and check that it computes the same. Research only, not for diagnosis."""
    from crossray.export.export import export_run

    summary = export_run(run, to, out, checkpoint=checkpoint, results=results, licence=licence)
    for one in summary.parity:
        typer.echo(f"checked: {one}")
    for reason in summary.left_out:
        typer.echo(f"left out: {reason}")
    typer.echo(f"Written: {out} ({', '.join(summary.files)})")
