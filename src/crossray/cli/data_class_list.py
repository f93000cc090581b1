"""``crossray data class-list``: draw a list of k classes with n studies each, for retrieval by class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SPLIT = "A split list: a file, or a shipped name such as iu-rr-v1. Its test sides are drawn from."
_CLASSES = "The classes, with commas; CheXpert's five of the competition by default."
_ALONE = "What else a study of a class must not show: any of the other findings, or of the other classes."


def class_list(
    store: Annotated[str, typer.Argument(help="A prepared store with labels and reports: its folder or URL.")],
    split: Annotated[str, typer.Argument(help=_SPLIT)],
    out: Annotated[Path, typer.Option(help="The list to write (JSON).")],
    classes: Annotated[str | None, typer.Option(help=_CLASSES, show_default=False)] = None,
    per_class: Annotated[int, typer.Option(help="Studies of each class.")] = 200,
    exclusive: Annotated[str, typer.Option(help=_ALONE)] = "findings",
    fold: Annotated[str | None, typer.Option(help="This fold alone; every fold by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw: the same seed gives the same list.")] = 0,
) -> None:
    """Draw test studies that show one class alone, equally many of each (5x200), and write them as a split list."""
    from crossray.data.class_list import ClassListConfig
    from crossray.data.class_list import class_list as drawn_list
    from crossray.data.split_files import read_split, write_split
    from crossray.data.store import Store
    from crossray.settings import build_settings

    asked = {"per_class": per_class, "exclusive": exclusive, "seed": seed}
    if classes is not None:
        asked["classes"] = [name.strip() for name in classes.split(",")]
    config = build_settings(ClassListConfig, asked)
    opened = Store.open(store, every_value=True)
    drawn = drawn_list(opened, read_split(split), config, folds=[] if fold is None else [fold])
    write_split(drawn, out)
    typer.echo(f"{drawn.protocol}: {drawn.notes}")
    typer.echo(f"Wrote {out}, {len(drawn.folds)} fold(s), hash {drawn.hash[:12]}.")
