"""``crossray data manifest`` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossray.cli.main import app
from crossray.errors import DataError
from tests.data.dicom_writing import radiograph, write


@pytest.fixture
def export(tmp_path: Path) -> Path:
    write(radiograph(ViewPosition="PA"), tmp_path / "export" / "1.dcm")
    write(radiograph(ViewPosition="LL", AccessionNumber="A7"), tmp_path / "export" / "2.dcm")
    (tmp_path / "reports.csv").write_text("AccessionNumber,text\nA1,The heart is normal.\n")
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    reports, out = str(folder / "reports.csv"), str(folder / "manifest.csv")
    return ["data", "manifest", str(folder / "export"), "--reports", reports, "--out", out, "--workers", "1", *more]


def test_the_summary_counts_what_was_found_and_left_out(export: Path) -> None:
    result = CliRunner().invoke(app, arguments(export, "--report-column", "text"), catch_exceptions=False)
    assert result.exit_code == 0
    assert "files looked at: 2" in result.stdout
    assert "film, film_without_report: 1" in result.stdout
    assert "studies in the manifest: 1 (films: 1 frontal)" in result.stdout
    assert (export / "manifest.csv").read_text().splitlines() == [
        "study_id,patient_id,film,view,report",
        "A1,P1,export/1.dcm,frontal,The heart is normal.",
    ]


def test_a_mistake_is_an_error_of_ours(export: Path) -> None:
    with pytest.raises(DataError, match=r"'report' is missing\. The columns are: AccessionNumber, text"):
        CliRunner().invoke(app, arguments(export), catch_exceptions=False)
