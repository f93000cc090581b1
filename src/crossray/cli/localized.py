"""``crossray localized``: segmentation, detection and classification heads on a trunk, under named protocols."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from crossray.evaluation.localized.plan import LocalizedRequest

_SUITE = "localized18 (LoVT's tasks), prior5 (what PRIOR trains), benchx, small_sets, or the id of one protocol."
_DATA = "A prepared store, or a folder of stores named by their source (rsna_pneumonia, ...); a folder or URL."
_TRUNK = "Folder of a run, file of weights (ResNet or plain ViT), timm:NAME (ImageNet weights), or random:NAME."
_WEIGHTS = "For timm:NAME: a .safetensors or .pth file, or hf-hub:owner/model."
_SPLIT = "A split list, LoVT's or BenchX's lists, or a folder of any; without it splits are made by patient."
_SET = "Change every protocol, e.g. --set train_fraction=0.01 or --set schedule.patience=5."
_PRESET = "clean, or legacy: with the published defects that a protocol names."
_DRY_RUN = "Only print what would be trained, what of it is done, and how long the rest would take."
_MEMORY = "Gigabytes that maps of frozen trunks may take."


def localized(
    suite: Annotated[str, typer.Option(help=_SUITE)],
    data: Annotated[str, typer.Option(help=_DATA)],
    out: Annotated[
        Path, typer.Option(help="Folder for localized.json, localized.csv, localized.md and the trainings.")
    ],
    trunk: Annotated[str, typer.Option("--trunk", "--image-encoder", help=_TRUNK)] = "timm:resnet50",
    weights: Annotated[str | None, typer.Option(help=_WEIGHTS, show_default=False)] = None,
    checkpoint: Annotated[str, typer.Option(help="Which weights of a run: best or last.")] = "best",
    split: Annotated[Path | None, typer.Option(help=_SPLIT, show_default=False)] = None,
    fold: Annotated[str | None, typer.Option(help="Fold of the list.", show_default="the first")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Runs with the chosen learning rate.", show_default="the protocol's")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many, for a quick look.", show_default=False)] = None,
    preset: Annotated[str, typer.Option(help=_PRESET)] = "clean",
    settings: Annotated[list[str] | None, typer.Option("--set", help=_SET, show_default=False)] = None,
    cells: Annotated[Path | None, typer.Option(help="Folder of finished trainings.", show_default="OUT/cells")] = None,
    memory: Annotated[float, typer.Option(help=_MEMORY)] = 4.0,
    draws: Annotated[int, typer.Option(help="Bootstrap draws of patients.")] = 1000,
    report: Annotated[bool, typer.Option(help="Write the HTML report.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=_DRY_RUN)] = False,
) -> None:
    """Train heads on a trunk under named protocols, and print every number with its protocol.

    A stopped call goes on where it was. Research only, not for diagnosis.
    """
    from crossray.evaluation.localized.plan import LocalizedRequest

    request = LocalizedRequest(
        suite=suite,
        data=data,
        out=out,
        trunk=trunk,
        weights=weights,
        checkpoint=checkpoint,
        split=split,
        fold=fold,
        seeds=seeds,
        preset=preset,
        changes=(*(settings or ()), *([f"schedule.max_epochs={epochs}"] if epochs is not None else [])),
        cells=cells,
        memory=memory,
        draws=draws,
        report=report,
    )
    _run(request, dry_run)


def _run(request: LocalizedRequest, dry_run: bool) -> None:
    if dry_run:
        from crossray.evaluation.forecast import forecast_lines
        from crossray.evaluation.localized.forecast import NOT_COUNTED, forecast_localized

        typer.echo("\n".join(forecast_lines(forecast_localized(request), NOT_COUNTED)))
        return
    from crossray.evaluation.localized.suite import run_localized

    run_localized(request, say=lambda line: typer.echo(line, err=True))
    typer.echo((request.out / "localized.md").read_text(encoding="utf-8"))
    typer.echo(f"Written: {request.out}")
