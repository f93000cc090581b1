"""``crossray data manifest``: from a hospital's export to a manifest that ``data prepare`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def manifest(
    dicom_dir: Annotated[Path, typer.Argument(help="Folder with the exported DICOM files, at any depth.")],
    reports: Annotated[
        Path, typer.Option(help="Reports: a CSV or Parquet table, or a folder of .txt files named by the key.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="CSV to write; what was left out is listed beside it, in <name>.unmatched.csv."),
    ],
    key: Annotated[
        str, typer.Option(help="DICOM keyword that links films with reports; the table's column has the same name.")
    ] = "AccessionNumber",
    report_column: Annotated[str, typer.Option(help="The table's column with the text of the report.")] = "report",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.")] = None,
) -> None:
    """Match a hospital's DICOM films with its reports and write a manifest for `data prepare`.

    Frontal and lateral films are told apart; structured reports, presentation states, localisers and raw images are
    refused; copies of a film are used once; addenda are joined. Everything left out is listed with its reason.
    Patient ids are written, patient names never.
    """
    from crossray.data.dicom_manifest import ManifestRequest, write_dicom_manifest
    from crossray.data.pool import available_cores
    from crossray.data.progress import film_progress

    request = ManifestRequest(dicom_dir, reports, out, key, report_column, workers or available_cores())
    with film_progress() as show:
        summary = write_dicom_manifest(request, show)
    for line in summary.lines():
        typer.echo(line)
