"""``crossray transfer``: a classifier trained on one store's labels, tested on another's studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SET = "Change a setting, e.g. --set tasks=[probe,finetune], --set fraction=0.1 or --set labels=[Cardiomegaly]."
_ENCODER = "A trunk from elsewhere, beside a run or alone; may be repeated: timm:NAME, random:NAME, a file of weights."


def transfer(
    train: Annotated[str, typer.Option(help="Store whose labels the classifier learns: folder or URL.")],
    split: Annotated[str, typer.Option(help="Split list of that store: its training and validation sides are used.")],
    test: Annotated[str, typer.Option(help="Store it is tested on, of the same prepared size: folder or URL.")],
    out: Annotated[Path, typer.Option(help="Folder for results.json, results.csv and results.md.")],
    run: Annotated[
        Path | None, typer.Argument(help="Folder of the pretrained run; none with --image-encoder.", show_default=False)
    ] = None,
    fold: Annotated[str | None, typer.Option(help="Fold of the split.", show_default="the first")] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights: best or last.")] = "best",
    settings: Annotated[list[str] | None, typer.Option("--set", help=_SET, show_default=False)] = None,
    image_encoder: Annotated[list[str] | None, typer.Option(help=_ENCODER, show_default=False)] = None,
) -> None:
    """Train a classifier on one data set and test it on another, beside the same from ImageNet.

    Of a store that the run or the classifier learned from, only the test side of the fold is tested. Research only, not
    for diagnosis.
    """
    from crossray.evaluation.transfer import transfer as run_transfer
    from crossray.evaluation.transfer_config import TransferConfig, TransferRequest
    from crossray.settings import apply_overrides, build_settings

    config = build_settings(TransferConfig, apply_overrides({}, settings or ()))
    request = TransferRequest(run, train, split, test, out, fold, checkpoint, tuple(image_encoder or ()))
    run_transfer(request, config, progress=lambda line: typer.echo(line, err=True))
    typer.echo((out / "results.md").read_text(encoding="utf-8"))
    typer.echo(f"Written: {out}")
