"""``crossray data split``: make a split list, or look at one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from crossray.data.split_table import SplitTable
    from crossray.data.store import Store


def split(
    store: Annotated[Path, typer.Argument(help="A prepared store.")],
    out: Annotated[Path | None, typer.Option(help="The list to write (JSON).")] = None,
    given: Annotated[
        str | None, typer.Option("--list", help="Check this list instead of making one: a file, or iu-rr-v1.")
    ] = None,
    inside: Annotated[
        str | None, typer.Option(help="A list and one of its folds (iu-rr-v1:0): split without that fold's test side.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    test: Annotated[
        float | None, typer.Option(help="One fixed split with this share for test instead of folds.")
    ] = None,
    validation: Annotated[float, typer.Option(help="Share of each training side set aside for validation.")] = 0.1,
    labels: Annotated[str | None, typer.Option(help="Labels to stratify on, with commas; all by default.")] = None,
    texts: Annotated[str, typer.Option(help="Studies with identical text: together or apart.")] = "together",
    seed: Annotated[int, typer.Option(help="Breaks ties; the same seed gives the same list.")] = 0,
    name: Annotated[str, typer.Option(help="The protocol's name, part of its hash.")] = "custom",
) -> None:
    """Split a store by patient, identical texts together, every label spread evenly; print what each side holds.

    With --inside settings can be chosen by whole evaluations that have not seen the test side they are chosen for.
    """
    from crossray.data.split_files import read_split, write_split
    from crossray.data.split_report import split_lines
    from crossray.data.split_table import split_table
    from crossray.data.store import Store
    from crossray.errors import ConfigError

    opened = Store.open(store)
    table = _table(opened, labels, inside)
    if texts not in ("together", "apart"):
        raise ConfigError(f"'{texts}' is neither together nor apart.", field="--texts")
    if given is not None:
        made = read_split(given)
    else:
        made = split_table(
            table,
            folds=folds,
            test_fraction=test,
            validation_fraction=validation,
            seed=seed,
            texts="together" if texts == "together" else "apart",
            protocol=name,
        )
    typer.echo("\n".join(split_lines(made, opened, table)))
    if out is not None:
        write_split(made, out)
        typer.echo(f"Wrote {out}, hash {made.hash[:12]}.")


def _table(store: Store, labels: str | None, inside: str | None) -> SplitTable:
    """What is to be split; ``inside``, a list and a fold of it, takes the fold's test side away."""
    from crossray.data.split_files import read_split
    from crossray.data.split_table import SplitTable

    table = SplitTable.from_store(store, labels.split(",") if labels is not None else None)
    if inside is None:
        return table
    outer, _, fold = inside.rpartition(":")
    return table.without(read_split(outer).fold(fold).test)
