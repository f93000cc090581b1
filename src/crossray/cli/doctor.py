"""``crossray doctor``: what is wrong, and how to mend it."""

from __future__ import annotations

from typing import Annotated

import typer

_PATH = "A store (also its URL), run, index, results or split list, or a folder above. Without it: this installation."


def doctor(
    path: Annotated[str | None, typer.Argument(help=_PATH, show_default=False)] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Say what is wrong with an installation or with what crossray wrote, and how to mend it.

    Nothing is changed, and nothing fetched but a store at a URL, all of it. Exit code 1 if something does not work;
    notes are no errors.
    """
    from dataclasses import asdict
    from json import dumps

    if path is None:  # asks nothing of packages that may be missing
        from crossray.doctor.installation import examine_installation

        findings = examine_installation()
    else:
        from crossray.data.streaming.mirror import store_folder
        from crossray.doctor.artefacts import examine

        findings = examine(store_folder(path))
    errors = sum(finding.level == "error" for finding in findings)
    if json:
        typer.echo(dumps([asdict(finding) for finding in findings], indent=2))
    else:
        typer.echo("\n".join(line for finding in findings for line in finding.lines()))
        notes = sum(finding.level == "note" for finding in findings)
        typer.echo(f"{len(findings)} things looked at: {errors} do not work, {notes} to know.")
    if errors:
        raise typer.Exit(1)
