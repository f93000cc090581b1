"""From a hospital's export to a manifest: what matches, what is refused, what is listed."""

from __future__ import annotations

import codecs
import csv
import errno
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    DigitalXRayImageStorageForProcessing,
    GrayscaleSoftcopyPresentationStateStorage,
    MediaStorageDirectoryStorage,
)

from crossray.data.dicom_manifest import MANIFEST_COLUMNS, ManifestRequest, ManifestSummary, write_dicom_manifest
from crossray.data.sources.folder import FolderSource
from crossray.data.study import Study
from crossray.errors import ConfigError, DataError
from tests.data.dicom_writing import grey_ramp, radiograph, write

Cells = dict[str, str]


def film(folder: Path, name: str, key: str = "A1", **attributes: Any) -> Path:
    return write(radiograph(AccessionNumber=key, **attributes), folder / "export" / name)


def table(folder: Path, rows: list[Cells], encoding: str = "utf-8", mark: bytes = b"") -> Path:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path = folder / "reports.csv"
    path.write_bytes(mark + buffer.getvalue().encode(encoding))
    return path


def report(key: str, text: str = "The heart is normal.", **cells: str) -> Cells:
    return {"AccessionNumber": key, "report": text, **cells}


def rows_of(path: Path) -> list[Cells]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(folder: Path, reports: Path, **options: Any) -> tuple[ManifestSummary, list[Cells], list[Cells]]:
    request = ManifestRequest(folder / "export", reports, folder / "manifest.csv", **options)
    summary = write_dicom_manifest(request)
    return summary, rows_of(request.out), rows_of(request.unmatched)


def test_films_and_reports_meet_by_their_key(tmp_path: Path) -> None:
    film(tmp_path, "b/2.dcm", "A1", ViewPosition="LL")
    film(tmp_path, "a/1.dcm", "A1", ViewPosition="PA")
    film(tmp_path, "c/3.dcm", "A2", ViewPosition="AP", PatientID="P2")
    reports = table(tmp_path, [report("A2", "Effusion, left."), report("A1", 'Normal.\nNo "mass".')])
    summary, rows, problems = run(tmp_path, reports)
    assert [row["study_id"] for row in rows] == ["A1", "A1", "A2"]
    assert [row["film"] for row in rows] == ["export/a/1.dcm", "export/b/2.dcm", "export/c/3.dcm"]
    assert [row["view"] for row in rows] == ["frontal", "lateral", "frontal"]
    assert [row["patient_id"] for row in rows] == ["P1", "P1", "P2"]
    assert [row["report"] for row in rows] == ['Normal.\nNo "mass".'] * 2 + ["Effusion, left."]
    assert tuple(rows[0]) == MANIFEST_COLUMNS
    assert problems == []
    assert (summary.files, summary.reports, summary.studies) == (3, 2, 2)
    assert "studies in the manifest: 2 (films: 2 frontal, 1 lateral)" in summary.lines()


@pytest.mark.parametrize(
    ("rule", "attributes"),
    [
        ("structured_report", {"SOPClassUID": BasicTextSRStorage, "Modality": "SR"}),
        ("structured_report", {"Modality": "KO"}),
        ("presentation_state", {"SOPClassUID": GrayscaleSoftcopyPresentationStateStorage, "Modality": "PR"}),
        ("presentation_state", {"SOPClassUID": GrayscaleSoftcopyPresentationStateStorage}),
        ("directory", {"SOPClassUID": MediaStorageDirectoryStorage}),
        ("localiser", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("for_processing", {"SOPClassUID": DigitalXRayImageStorageForProcessing, "Modality": "DX"}),
        ("for_processing", {"PresentationIntentType": "FOR PROCESSING"}),
        ("not_a_radiograph", {"SOPClassUID": CTImageStorage, "Modality": "CT"}),
        ("not_a_radiograph", {"Modality": "MG"}),
        ("no_pixels", {"Rows": None}),
        ("several_frames", {"NumberOfFrames": 3}),
        ("no_key", {"AccessionNumber": ""}),
    ],
)
def test_what_is_no_film_is_refused_and_listed(rule: str, attributes: dict[str, Any], tmp_path: Path) -> None:
    film(tmp_path, "film.dcm")
    write(radiograph(**attributes), tmp_path / "export" / "other.dcm")
    summary, rows, problems = run(tmp_path, table(tmp_path, [report("A1")]))
    assert [row["film"] for row in rows] == ["export/film.dcm"]
    assert [(row["what"], row["rule"], row["file"]) for row in problems] == [("file", rule, "other.dcm")]
    assert summary.problems == {("file", rule): 1}


def test_files_that_are_no_dicom_or_damaged_are_listed(tmp_path: Path) -> None:
    whole = film(tmp_path, "film.dcm").read_bytes()
    (tmp_path / "export" / "notes.txt").write_text("hello")
    (tmp_path / "export" / "empty.dcm").touch()
    (tmp_path / "export" / "cut.dcm").write_bytes(whole[:150])
    _, rows, problems = run(tmp_path, table(tmp_path, [report("A1")]))
    assert len(rows) == 1
    assert [(row["rule"], row["file"]) for row in problems] == [
        ("unreadable", "cut.dcm"),
        ("unreadable", "empty.dcm"),
        ("not_dicom", "notes.txt"),
    ]


def test_copies_of_a_film_are_used_once(tmp_path: Path) -> None:
    film(tmp_path, "b.dcm", SOPInstanceUID="1.2.3")
    film(tmp_path, "a.dcm", SOPInstanceUID="1.2.3")
    film(tmp_path, "c.dcm", SOPInstanceUID="1.2.4")
    _, rows, problems = run(tmp_path, table(tmp_path, [report("A1")]))
    assert [row["film"] for row in rows] == ["export/a.dcm", "export/c.dcm"]
    assert [(row["rule"], row["file"]) for row in problems] == [("duplicate_sop_instance_uid", "b.dcm")]
    assert "a.dcm" in problems[0]["reason"]


def test_what_matched_nothing_is_listed_on_both_sides(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "A1")
    film(tmp_path, "2.dcm", "A2")
    _, rows, problems = run(tmp_path, table(tmp_path, [report("A1"), report("A3")]))
    assert len(rows) == 1
    assert [(row["what"], row["rule"], row["key"], row["row"]) for row in problems] == [
        ("film", "film_without_report", "A2", ""),
        ("report", "report_without_film", "A3", "2"),
    ]


def test_a_key_that_lost_its_zeros_is_pointed_at(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "00123")
    film(tmp_path, "2.dcm", "A1")
    _, _, problems = run(tmp_path, table(tmp_path, [report("123.0"), report("A1")]))
    assert [row["rule"] for row in problems] == ["film_without_report", "report_without_film"]
    assert "Differs from '123.0' only by zeros" in problems[0]["reason"]


@pytest.mark.parametrize("key", ["1.23457E+10", "1,23E+10"])
def test_a_key_that_a_spreadsheet_rounded_is_told(key: str, tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "12345678901")
    film(tmp_path, "2.dcm", "A1")
    _, _, problems = run(tmp_path, table(tmp_path, [report(key), report("A1")]))
    assert [row["rule"] for row in problems] == ["report_without_film", "film_without_report"]
    assert "A spreadsheet has rounded it" in problems[0]["reason"]


def test_a_film_or_report_whose_other_side_was_left_out_is_told_why(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "A1")
    film(tmp_path, "2.dcm", "A2", NumberOfFrames=3)
    film(tmp_path, "3.dcm", "A3")
    rows = [report("A1"), report("A2"), report("A3", "")]
    _, _, problems = run(tmp_path, table(tmp_path, rows))
    reasons = {row["key"]: row["reason"] for row in problems if row["rule"].endswith(("_film", "_report"))}
    assert reasons["A2"] == "no film has this key. What has it was left out: several_frames."
    assert reasons["A3"] == "no report has this key. What has it was left out: empty_report."


def test_patients_whose_ids_differ_by_zeros_are_pointed_at(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "A1", PatientID="0042")
    film(tmp_path, "2.dcm", "A2", PatientID="42")
    film(tmp_path, "3.dcm", "A3", PatientID="0042")
    film(tmp_path, "4.dcm", "A3", PatientID="42")
    film(tmp_path, "5.dcm", "A4", PatientID="42")
    film(tmp_path, "6.dcm", "A4", PatientID="")
    rows = [report(key) for key in ("A1", "A2", "A3", "A4")]
    _, rows, problems = run(tmp_path, table(tmp_path, rows))
    assert {row["study_id"] for row in rows} == {"A1", "A2"}
    told = {(row["key"], row["rule"]): row["reason"] for row in problems}
    assert told["A3", "two_patients"].endswith("Their ids differ only by zeros or spelling.")
    assert told["A4", "two_patients"].endswith("One of them has no PatientID.")
    assert told["A1", "patient_ids_alike"].startswith("the PatientIDs 0042, 42 differ only by zeros")


def test_every_file_and_every_report_is_in_the_manifest_or_listed_once(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "A1", SOPInstanceUID="1.2.3")
    film(tmp_path, "2.dcm", "A1", SOPInstanceUID="1.2.3")
    film(tmp_path, "3.dcm", "A2", NumberOfFrames=2)
    film(tmp_path, "4.dcm", "A3")
    (tmp_path / "export" / "notes").write_text("no film")
    (tmp_path / "export" / "loop").symlink_to(".")
    (tmp_path / "export" / "self").symlink_to("self")
    summary, rows, problems = run(tmp_path, table(tmp_path, [report("A1"), report("A1"), report("A2"), report("")]))
    listed = [row for row in problems if row["what"] in ("file", "film")]
    assert summary.files == 7 == len(rows) + len({row["file"] for row in listed}) == len(rows) + len(listed)
    joined = sum(row["what"] == "remark" and row["rule"] == "addenda_joined" for row in problems)
    assert summary.reports == 4 == summary.studies + joined + sum(row["what"] == "report" for row in problems)


def test_markup_is_taken_off_reports_and_told(tmp_path: Path) -> None:
    for key in ("A1", "A2", "A3"):
        film(tmp_path, f"{key}.dcm", key)
    rows = [report("A1", r"{\rtf1\ansi Normal.\par}"), report("A2", "<p>No effusion.</p>"), report("A3", "<5 mm.")]
    _, manifest, problems = run(tmp_path, table(tmp_path, [*rows, report("A4", "<p> </p>")]))
    assert [row["report"] for row in manifest] == ["Normal.", "No effusion.", "<5 mm."]
    assert [(row["rule"], row["key"], row["row"]) for row in problems] == [
        ("empty_report", "A4", "4"),
        ("markup_removed", "A1", "1"),
        ("markup_removed", "A2", "2"),
    ]


def test_addenda_are_joined_in_order_and_noted(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm")
    rows = [report("A1", "Normal."), report("A1", "Addendum: nodule."), report("A1", "Normal.")]
    _, manifest, problems = run(tmp_path, table(tmp_path, rows))
    assert manifest[0]["report"] == "Normal.\n\nAddendum: nodule."
    assert [(row["what"], row["rule"]) for row in problems] == [("remark", "addenda_joined")]
    assert problems[0]["reason"].startswith("3 reports or addenda")


def test_one_key_on_films_of_two_patients_is_refused(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "A1", PatientID="P1")
    film(tmp_path, "2.dcm", "A1", PatientID="P2")
    film(tmp_path, "3.dcm", "A2")
    _, rows, problems = run(tmp_path, table(tmp_path, [report("A1"), report("A2")]))
    assert [row["study_id"] for row in rows] == ["A2"]
    assert [(row["what"], row["rule"]) for row in problems] == [
        ("film", "two_patients"),
        ("film", "two_patients"),
        ("report", "two_patients"),
    ]


def test_a_view_that_the_header_contradicts_is_noted(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", ViewPosition="PA", SeriesDescription="CHEST LATERAL")
    _, rows, problems = run(tmp_path, table(tmp_path, [report("A1")]))
    assert rows[0]["view"] == "frontal"
    assert [(row["rule"], row["file"]) for row in problems] == [("view_in_doubt", "1.dcm")]
    assert "ViewPosition says frontal, SeriesDescription says otherwise" in problems[0]["reason"]


def test_the_patient_name_is_written_nowhere(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "A1", PatientName="Zwingli^Huldrych")
    film(tmp_path, "ZWINGLI_HULDRYCH/2.dcm", "A2", PatientName="Zwingli^Huldrych")
    _, rows, problems = run(tmp_path, table(tmp_path, [report("A1"), report("A2")]))
    assert [row["film"] for row in rows] == ["export/1.dcm"]
    assert [(row["rule"], row["file"]) for row in problems if row["what"] == "file"] == [
        ("name_in_path", "***_***/2.dcm")
    ]
    written = (tmp_path / "manifest.csv").read_text() + (tmp_path / "manifest.unmatched.csv").read_text()
    assert "zwingli" not in written.casefold()
    assert "huldrych" not in written.casefold()


def test_sections_and_labels_go_along(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm")
    rows = [
        {"accession_number": "A1", "Findings": "Clear.", "impression": "Normal.", "label:Edema": "0", "doctor": "X"},
        {"accession_number": "A1", "Findings": "", "impression": "Edema.", "label:Edema": "1", "doctor": "Y"},
    ]
    _, manifest, problems = run(tmp_path, table(tmp_path, rows))
    assert tuple(manifest[0]) == (*MANIFEST_COLUMNS, "label:Edema", "findings", "impression")
    assert (manifest[0]["findings"], manifest[0]["impression"]) == ("Clear.", "Normal.\n\nEdema.")
    assert manifest[0]["report"] == manifest[0]["label:Edema"] == ""
    assert [row["rule"] for row in problems] == ["addenda_joined", "labels_disagree"]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("cp1252", b""),
    ],
)
def test_a_table_may_come_in_any_usual_encoding(encoding: str, mark: bytes, tmp_path: Path) -> None:
    film(tmp_path, "1.dcm")
    _, rows, _ = run(tmp_path, table(tmp_path, [report("A1", "Überblähung – Lungenödem.")], encoding, mark))
    assert rows[0]["report"] == "Überblähung – Lungenödem."


def test_rows_without_key_or_text_are_listed_with_their_number(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm")
    reports = table(tmp_path, [report("A1"), report("", "Lost."), report("A1", " ")])
    reports.write_text(reports.read_text() + "A1,heart, lungs, bones normal\n")
    _, rows, problems = run(tmp_path, reports)
    assert rows[0]["report"] == "The heart is normal."
    assert [(row["rule"], row["row"]) for row in problems] == [
        ("no_key", "2"),
        ("empty_report", "3"),
        ("malformed_row", "4"),
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "Accession,report",
            r"'AccessionNumber' is missing\. The columns are: Accession, report\. Is it 'Accession'\?",
        ),
        ("AccessionNumber,Report text", r"'report' is missing\. .* Is it 'Report text'\?"),
        ("x,y", r"'AccessionNumber' is missing\. The columns are: x, y\."),
    ],
)
def test_a_missing_column_is_an_error_that_names_the_nearest(header: str, message: str, tmp_path: Path) -> None:
    film(tmp_path, "1.dcm")
    (tmp_path / "reports.csv").write_text(f"{header}\nA1,Normal.\n")
    with pytest.raises(DataError, match=message):
        run(tmp_path, tmp_path / "reports.csv")


def text_reports(folder: Path, **texts: bytes) -> Path:
    reports = folder / "texts"
    reports.mkdir()
    for name, content in texts.items():
        (reports / name.replace("__", ".")).write_bytes(content)
    return reports


def test_text_files_are_named_by_key(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "A1")
    film(tmp_path, "2.dcm", "A1_2")
    reports = text_reports(
        tmp_path,
        A1__txt=b"Normal.",
        A1_addendum10__txt=b"Third.",
        A1_addendum2__txt="\ufeffSecond.".encode(),
        A1_2__txt=b"Another study.",
        A9__txt=b"No film.",
        B1__txt=b"",
        C1__txt=b"\x00\x01\x02\x03\x81",
        readme__md=b"?",
    )
    summary, rows, problems = run(tmp_path, reports)
    assert {row["study_id"]: row["report"] for row in rows} == {
        "A1": "Normal.\n\nSecond.\n\nThird.",
        "A1_2": "Another study.",
    }
    assert sorted((row["rule"], row["key"]) for row in problems) == [
        ("addenda_joined", "A1"),
        ("empty_report", "B1"),
        ("not_a_text_file", ""),
        ("report_without_film", "A9"),
        ("unreadable", "C1"),
    ]
    assert summary.studies == 2


def test_a_folder_without_texts_is_an_error(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm")
    with pytest.raises(DataError, match=r"holds no \.txt file with a report"):
        run(tmp_path, text_reports(tmp_path, readme__md=b"?"))


def test_reports_and_manifest_inside_the_export_are_no_part_of_it(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm")
    reports = table(tmp_path / "export", [report("A1")])
    request = ManifestRequest(tmp_path / "export", reports, tmp_path / "export" / "manifest.csv")
    first, second = write_dicom_manifest(request), write_dicom_manifest(request)
    assert first == second
    assert first.files == 1
    assert rows_of(request.out)[0]["film"] == "1.dcm"


def test_a_film_outside_the_manifest_folder_gets_its_whole_path(tmp_path: Path) -> None:
    path = film(tmp_path, "1.dcm")
    request = ManifestRequest(tmp_path / "export", table(tmp_path, [report("A1")]), tmp_path / "made" / "m.csv")
    write_dicom_manifest(request)
    assert rows_of(request.out)[0]["film"] == str(path)


def test_when_nothing_matches_the_list_says_why(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "A1")
    with pytest.raises(DataError, match=r"manifest\.unmatched\.csv: no film matched a report.*right --key"):
        run(tmp_path, table(tmp_path, [report("A2")]))
    assert len(rows_of(tmp_path / "manifest.unmatched.csv")) == 2
    assert not (tmp_path / "manifest.csv").exists()


def test_any_dicom_keyword_links(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", StudyInstanceUID="1.2.3")
    _, rows, _ = run(
        tmp_path, table(tmp_path, [{"study_instance_uid": "1.2.3", "report": "Normal."}]), key="StudyInstanceUID"
    )
    assert rows[0]["study_id"] == "1.2.3"


def test_an_unknown_keyword_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--key AccesionNumber is no DICOM keyword\. Did you mean AccessionNumber\?"):
        run(tmp_path, tmp_path / "reports.csv", key="AccesionNumber")


@pytest.mark.parametrize("make", [False, True])
def test_an_export_that_is_missing_or_empty_is_an_error(make: bool, tmp_path: Path) -> None:
    if make:
        (tmp_path / "export").mkdir()
    with pytest.raises(DataError, match="holds no files" if make else "is not a folder"):
        run(tmp_path, table(tmp_path, [report("A1")]))


def test_a_full_disk_is_told_and_the_old_manifest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path, "1.dcm")
    reports = table(tmp_path, [report("A1")])
    run(tmp_path, reports)
    before = (tmp_path / "manifest.csv").read_bytes()

    def full(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("crossray.data.dicom_manifest.write_whole", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        run(tmp_path, reports)
    assert (tmp_path / "manifest.csv").read_bytes() == before


def test_several_processes_write_the_same_manifest(tmp_path: Path) -> None:
    for number in range(70):
        film(tmp_path, f"{number % 7}/{number}.dcm", f"A{number % 30}")
    reports = table(tmp_path, [report(f"A{number}") for number in range(30)])
    shown: list[tuple[int, int]] = []
    run(tmp_path, reports)
    alone = (tmp_path / "manifest.csv").read_bytes()
    request = ManifestRequest(tmp_path / "export", reports, tmp_path / "manifest.csv", workers=2)
    write_dicom_manifest(request, lambda done, total: shown.append((done, total)))
    assert request.out.read_bytes() == alone
    assert shown == [(done, 70) for done in range(1, 71)]


def test_the_folder_source_reads_the_manifest(tmp_path: Path) -> None:
    film(tmp_path, "1.dcm", "A1", ViewPosition="PA")
    film(tmp_path, "2.dcm", "A1", ViewPosition="LL")
    film(tmp_path, "3.dcm", "A2", PatientID="P2")
    rows = [
        report("A1", "FINDINGS: Clear.\nIMPRESSION: Normal.", findings="", **{"label:Edema": "0"}),
        report("A2", "", findings="Edema.", **{"label:Edema": "1"}),
    ]
    run(tmp_path, table(tmp_path, rows))
    first, second = [item for item in FolderSource(tmp_path / "manifest.csv").studies() if isinstance(item, Study)]
    assert (first.study_id, first.patient_id, first.labels) == ("A1", "P1", {"Edema": 0.0})
    assert [one.view for one in first.films] == ["frontal", "lateral"]
    assert [section.name for section in first.report.sections] == ["findings", "impression"]
    assert (second.films[0].view, second.report.sections[0].name) == ("unknown", "findings")
    np.testing.assert_array_equal(first.films[0].pixels.read(), grey_ramp())
