"""``crossray data split``: make a split list, or look at one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from crossray.data.split_table import SplitTable
    from crossray.data.splits import SplitList, Texts
    from crossray.data.store import Store


_LIST = "Check this list instead of making one: a file, or iu-rr-v1."
_INSIDE = "A list and one of its folds (iu-rr-v1:0): split without that fold's test side."
_PUBLISHER = "Take the publisher's own split, as one fold."
_TEST = "One fixed split with this share for test instead of folds."
_SHARE = "Share of each training side set aside for validation."
_KEY = "With --list: the key of the store, where the list has ids as they were before they became keyed hashes."
_FOLDS, _VALIDATION = 5, 0.1


def split(
    store: Annotated[str, typer.Argument(help="A prepared store: its folder or URL.")],
    out: Annotated[Path | None, typer.Option(help="The list to write (JSON).")] = None,
    given: Annotated[str | None, typer.Option("--list", help=_LIST)] = None,
    inside: Annotated[str | None, typer.Option(help=_INSIDE)] = None,
    publisher: Annotated[bool, typer.Option("--publisher", help=_PUBLISHER)] = False,
    set_aside: Annotated[float, typer.Option(help="With --publisher: share of its training for validation.")] = 0.0,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = _FOLDS,
    test: Annotated[float | None, typer.Option(help=_TEST)] = None,
    validation: Annotated[float, typer.Option(help=_SHARE)] = _VALIDATION,
    labels: Annotated[str | None, typer.Option(help="Labels to stratify on, with commas; all by default.")] = None,
    texts: Annotated[str, typer.Option(help="Studies with identical text: together or apart.")] = "together",
    seed: Annotated[int, typer.Option(help="Breaks ties; the same seed gives the same list.")] = 0,
    name: Annotated[str | None, typer.Option(help="The protocol's name, part of its hash; custom by default.")] = None,
    key_file: Annotated[Path | None, typer.Option(help=_KEY)] = None,
) -> None:
    """Split a store by patient, identical texts together, every label spread evenly; print what each side holds.

    With --publisher the store is divided as its publisher did; where there is no validation side, --set-aside 0.1 takes
    a tenth of the training side, by patient.

    With --inside settings can be chosen by whole evaluations that have not seen the test side they are chosen for.
    """
    from crossray.data.deidentify import split_under_pseudonyms
    from crossray.data.publisher_split import publisher_split
    from crossray.data.split_files import read_split
    from crossray.data.split_report import split_lines
    from crossray.data.split_table import split_table
    from crossray.data.store import Store

    others = {"--list": given is not None, "--inside": inside is not None, "--test": test is not None}
    others |= {"--folds": folds != _FOLDS, "--validation": validation != _VALIDATION}
    _check_asked(publisher, set_aside, [option for option, asked in others.items() if asked])
    opened = Store.open(store, every_value=True)
    table, how = _table(opened, labels, inside), _texts(texts)
    if given is not None:
        made = split_under_pseudonyms(read_split(given), opened, key_file)
    elif publisher:
        made = publisher_split(opened, table, set_aside=set_aside, seed=seed, texts=how, protocol=name)
    else:
        drawn = partial(split_table, table, folds=folds, test_fraction=test, validation_fraction=validation)
        made = drawn(seed=seed, texts=how, protocol=name or "custom")
    typer.echo("\n".join(split_lines(made, opened, table)))
    _write(made, out)


def _write(made: SplitList, out: Path | None) -> None:
    from crossray.data.split_files import write_split

    if out is not None:
        write_split(made, out)
        typer.echo(f"Wrote {out}, hash {made.hash[:12]}.")


def _check_asked(publisher: bool, set_aside: float, others: Sequence[str]) -> None:
    """Refuse options that have no meaning together."""
    from crossray.errors import ConfigError

    if not publisher and set_aside:
        remedy = "Of any other split --validation sets a share aside."
        raise ConfigError("is for the publisher's split.", field="--set-aside", remedy=remedy)
    if not 0 <= set_aside < 1:
        raise ConfigError(f"{set_aside:g} is no share between 0 and 1.", field="--set-aside")
    if publisher and others:
        problem = f"takes the split as it is: {others[0]} has no meaning beside it."
        instead = "--set-aside takes a share for validation." if others[0] == "--validation" else None
        raise ConfigError(problem, field="--publisher", remedy=instead)


def _texts(written: str) -> Texts:
    from crossray.errors import ConfigError

    if written not in ("together", "apart"):
        raise ConfigError(f"'{written}' is neither together nor apart.", field="--texts")
    return "together" if written == "together" else "apart"


def _table(store: Store, labels: str | None, inside: str | None) -> SplitTable:
    """What is to be split; ``inside``, a list and a fold of it, takes the fold's test side away."""
    from crossray.data.split_files import read_split
    from crossray.data.split_table import SplitTable
    from crossray.errors import ConfigError

    table = SplitTable.from_store(store, labels.split(",") if labels is not None else None)
    if inside is None:
        return table
    outer, colon, fold = inside.rpartition(":")
    if not colon:
        raise ConfigError(f"'{inside}' names no fold.", field="--inside", remedy=f"Write {inside}:FOLD, iu-rr-v1:0.")
    return table.without(read_split(outer).fold(fold).test)
