from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.folder import FolderConfig, FolderSource
from crossray.data.store import Store
from crossray.data.study import Box, Study
from crossray.errors import ConfigError, DataError, StudyError
from crossray.settings import build_settings
from tests.data.dicom_writing import radiograph, write

ROW = {"study_id": "a", "patient_id": "p", "film": "1.png", "view": "frontal", "report": "FINDINGS: Clear lungs."}


def write_films(folder: Path, count: int = 3) -> None:
    for number in range(1, count + 1):
        Image.fromarray(np.full((30, 24), 40 * number, dtype=np.uint8)).save(folder / f"{number}.png")


def write_manifest(folder: Path, rows: Sequence[Mapping[str, str]], encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(folder: Path, *rows: Mapping[str, str]) -> list[Study | Rejected | Remark]:
    write_films(folder)
    write_manifest(folder, rows)
    return list(FolderSource(folder).studies())


def test_rows_of_one_study_become_one_study_wherever_they_stand(tmp_path: Path) -> None:
    other = {**ROW, "study_id": "b", "film": "3.png", "patient_id": ""}
    second = {**ROW, "film": "2.png", "view": "lateral", "report": ""}
    first, third = read(tmp_path, ROW, other, second)
    assert isinstance(first, Study)
    assert isinstance(third, Study)
    assert (first.study_id, first.patient_id, third.patient_id) == ("a", "p", None)
    assert [(film.film_id, film.view) for film in first.films] == [("1.png", "frontal"), ("2.png", "lateral")]
    assert first.report.text == "FINDINGS: Clear lungs."
    assert first.report.sections[0].name == "findings"
    assert first.films[0].pixels.read().shape == (30, 24)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_manifest_in_any_encoding_reads_the_same(tmp_path: Path, encoding: str) -> None:
    write_films(tmp_path)
    write_manifest(tmp_path, [{**ROW, "report": "Größe normal."}], encoding)
    (study,) = FolderSource(tmp_path).studies()
    assert isinstance(study, Study)
    assert study.report.text == "Größe normal."


def test_sections_may_come_as_columns_and_reports_as_files(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_bytes("IMPRESSION: Größe normal.".encode("cp1252"))
    sections = {**ROW, "report": "", "findings": "Clear.", "impression": "Normal.", "report_file": ""}
    by_file = {**sections, "study_id": "b", "film": "2.png", "findings": "", "impression": "", "report_file": "r.txt"}
    first, second = read(tmp_path, sections, by_file)
    assert isinstance(first, Study)
    assert isinstance(second, Study)
    assert first.report.text == "FINDINGS: Clear.\nIMPRESSION: Normal."
    assert second.report.text == "IMPRESSION: Größe normal."


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ({"report": "<p>FINDINGS: Clear &amp; dry.</p>"}, "FINDINGS: Clear & dry."),
        ({"report": "", "report_file": "r.rtf"}, "FINDINGS: Größe normal."),
        ({"report": "", "findings": "<b>Dry.</b>", "impression": "<5 mm."}, "FINDINGS: Dry.\nIMPRESSION: <5 mm."),
    ],
)
def test_markup_is_taken_off_reports_and_remarked_on(cells: dict[str, str], text: str, tmp_path: Path) -> None:
    (tmp_path / "r.rtf").write_text(r"{\rtf1\ansi FINDINGS: Gr\'f6\'dfe normal.\par}")
    remark, study = read(tmp_path, {**ROW, **cells})
    assert isinstance(remark, Remark)
    assert (remark.study_id, remark.rule) == ("a", "markup_removed")
    assert isinstance(study, Study)
    assert study.report.text == text


def test_labels_shapes_boxes_and_masks_are_read(tmp_path: Path) -> None:
    mask = np.zeros((30, 24), dtype=np.uint8)
    mask[:10] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "boxes.csv").write_text(
        "film,label,x_min,y_min,x_max,y_max\n1.png,Edema,1,2.5,10,20\n9.png,Edema,1,2,3,4\n"
    )
    row = {**ROW, "original_height": "60", "original_width": "60", "label:Edema": "1", "label:Fracture": "-1"}
    study, remark = read(tmp_path, {**row, "mask:lung": "mask.png", "label:Pneumonia": ""})
    assert isinstance(study, Study)
    film = study.films[0]
    assert (film.original_height, film.original_width, film.boxes) == (60, 60, (Box("Edema", 1, 2.5, 10, 20),))
    np.testing.assert_array_equal(film.masks["lung"].read(), mask)
    np.testing.assert_array_equal(list(study.labels.values()), [1.0, np.nan, np.nan])
    assert isinstance(remark, Remark)
    assert (remark.rule, remark.film_id) == ("box_of_unknown_film", "9.png")


@pytest.mark.parametrize(
    ("second", "rule"),
    [
        ({"report": "FINDINGS: Effusion."}, "two_reports"),
        ({"patient_id": "q"}, "two_patients"),
        ({"patient_id": ""}, "two_patients"),
        ({"label:Edema": "0"}, "two_labels"),
    ],
)
def test_a_study_id_used_twice_is_left_out_with_both_rows(tmp_path: Path, second: dict[str, str], rule: str) -> None:
    row = {**ROW, "label:Edema": "1"}
    (refused,) = read(tmp_path, row, {**row, "film": "2.png", **second})
    assert isinstance(refused, Rejected)
    assert (refused.study_id, refused.rule, refused.row) == ("a", rule, 2)
    assert "rows 1 and 2" in refused.reason
    assert (refused.file or "").endswith("manifest.csv")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"film": "none.png"}, "missing_file"),
        ({"film": ""}, "bad_film_row"),
        ({"view": "sideways"}, "bad_film_row"),
        ({"original_height": "100"}, "bad_film_row"),
        ({"original_height": "0", "original_width": "5"}, "bad_film_row"),
        ({"film": "2.png"}, "duplicate_film"),
    ],
)
def test_a_row_that_gives_no_film_is_left_out_and_the_study_goes_on(
    tmp_path: Path, change: dict[str, str], rule: str
) -> None:
    shape = {"original_height": "", "original_width": ""}
    refused, study = read(tmp_path, {**ROW, **shape, "film": "2.png"}, {**ROW, **shape, "film": "3.png", **change})
    assert isinstance(refused, Rejected)
    assert (refused.rule, refused.row, refused.film_id) == (rule, 2, {"film": "3.png", **change}["film"])
    assert isinstance(study, Study)
    assert len(study.films) == 1


def test_one_film_in_two_studies_is_left_out_of_the_second(tmp_path: Path) -> None:
    _, refused, _ = read(tmp_path, ROW, {**ROW, "study_id": "b"})
    assert isinstance(refused, Rejected)
    assert (refused.study_id, refused.rule) == ("b", "duplicate_film")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"study_id": ""}, "missing_study_id"),
        ({"label:Edema": "yes"}, "bad_label"),
        ({"report": "", "report_file": "none.txt"}, "unreadable_report"),
        ({"report": "", "report_file": "binary.txt"}, "unreadable_report"),
    ],
)
def test_a_study_that_cannot_be_used_is_left_out(tmp_path: Path, change: dict[str, str], rule: str) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\x00\x01\x02\xff")
    (refused,) = read(tmp_path, {**ROW, **change})
    assert isinstance(refused, Rejected)
    assert (refused.rule, refused.film_id) == (rule, None)


def test_an_unquoted_comma_takes_the_study_out_instead_of_shifting_it(tmp_path: Path) -> None:
    write_films(tmp_path)
    (tmp_path / "manifest.csv").write_text(
        "study_id,patient_id,film,view,report\na,p,1.png,frontal,Heart, lungs clear\n"
    )
    (refused,) = FolderSource(tmp_path).studies()
    assert isinstance(refused, Rejected)
    assert refused.rule == "malformed_row"


@pytest.mark.parametrize("edges", ["nan,0,5,5", "0,0,inf,5", "5,0,5,5", "a,0,5,5"])
def test_a_box_that_is_none_takes_its_film_out_and_names_the_row(tmp_path: Path, edges: str) -> None:
    (tmp_path / "boxes.csv").write_text(f"film,label,x_min,y_min,x_max,y_max\n1.png,Edema,{edges}\n")
    refused, _ = read(tmp_path, ROW)
    assert isinstance(refused, Rejected)
    assert refused.rule == "bad_box"
    assert "boxes.csv, row 1" in refused.reason


def test_a_dicom_header_fills_an_empty_view_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    write(radiograph(ViewPosition="LL"), tmp_path / "lateral.dcm")
    write(radiograph(ViewPosition="PA"), tmp_path / "frontal.dcm")
    sent_as_frontal = {**ROW, "study_id": "b", "film": "lateral.dcm"}
    empty, wrong = read(tmp_path, {**ROW, "film": "frontal.dcm", "view": ""}, sent_as_frontal)
    assert isinstance(empty, Study)
    assert isinstance(wrong, Study)
    assert empty.films[0].view == "frontal"
    assert empty.films[0].pixels.read().ndim == 2
    with pytest.raises(StudyError, match="manifest says frontal, the DICOM header says lateral"):
        wrong.films[0].pixels.read()
    prepare_store(FolderSource(tmp_path), tmp_path / "store", PrepareConfig(size=16), workers=1)
    assert Store.open(tmp_path / "store").study_ids == ["a"]
    assert "view_contradicts_header" in (tmp_path / "store" / "quarantine.csv").read_text()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("study_id,patient_id,film,views,report", "column 'view' is missing.*Did you mean 'views'"),
        ("study_id,patient_id,film,view,reports", "column 'report' is missing.*Did you mean 'reports'"),
        ("study_id,film,view,report", "column 'patient_id' is missing"),
    ],
)
def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path, header: str, message: str) -> None:
    (tmp_path / "manifest.csv").write_text(header + "\n")
    with pytest.raises(DataError, match=message):
        FolderSource(tmp_path)


def write_own_table(folder: Path) -> Path:
    """A table and a table of boxes with a hospital's own names; films in a folder of their own."""
    films = folder / "images"
    films.mkdir()
    write_films(films)
    (folder / "boxes.csv").write_text("image,label,x_min,y_min,x_max,y_max\n1.png,Edema,1,2,10,20\n")
    table = folder / "reports.csv"
    table.write_text("image,mrn,view,notes,edema\n1.png,p,AP Supine,Diffuse opacities.,1\n2.png,p,L,Same.,0\n")
    return table


OWN_NAMES = FolderConfig(
    columns={"study_id": "image", "film": "image", "patient_id": "mrn", "report": "notes", "label:Edema": "edema"},
    films=Path("images"),
)


def test_a_table_may_keep_its_own_names_and_its_films_a_folder(tmp_path: Path) -> None:
    first, second = FolderSource(write_own_table(tmp_path), OWN_NAMES).studies()
    assert isinstance(first, Study)
    assert isinstance(second, Study)
    assert (first.study_id, first.patient_id, first.report.text) == ("1.png", "p", "Diffuse opacities.")
    assert (first.labels, second.labels) == ({"Edema": 1.0}, {"Edema": 0.0})
    assert (first.films[0].film_id, first.films[0].view, second.films[0].view) == ("1.png", "frontal", "lateral")
    assert first.films[0].boxes == (Box("Edema", 1, 2, 10, 20),)
    assert first.films[0].pixels.read().shape == (30, 24)


def test_other_columns_are_another_source(tmp_path: Path) -> None:
    table = write_own_table(tmp_path)
    swapped = OWN_NAMES.model_copy(update={"columns": OWN_NAMES.columns | {"report": "view"}})
    prints = [FolderSource(table, config).fingerprint() for config in (OWN_NAMES, swapped, OWN_NAMES)]
    assert prints[0] != prints[1]
    assert prints[0] == prints[2]


def test_a_wrong_renaming_names_the_nearest_column(tmp_path: Path) -> None:
    table = write_own_table(tmp_path)
    with pytest.raises(DataError, match=r"the column 'note' is missing.*Did you mean 'notes'"):
        FolderSource(table, FolderConfig(columns={"report": "note"}))
    said = " ".join(f"--set columns.{name}=NAME" for name in ("study_id", "patient_id", "film", "report"))
    with pytest.raises(DataError, match=rf"column 'study_id' is missing.*: {re.escape(said)}\."):
        FolderSource(table)
    with pytest.raises(DataError, match=r"no manifest.*There is boxes\.csv, reports\.csv: if one of them"):
        FolderSource(tmp_path)
    with pytest.raises(ConfigError, match="no column 'reprt': did you mean 'report'"):
        build_settings(FolderConfig, {"columns": {"reprt": "notes"}})


def test_a_folder_without_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crossray data template"):
        FolderSource(tmp_path)


def test_the_fingerprint_changes_with_manifest_films_and_boxes(tmp_path: Path) -> None:
    write_films(tmp_path)
    write_manifest(tmp_path, [ROW])
    seen = {FolderSource(tmp_path).fingerprint()}
    assert FolderSource(tmp_path).fingerprint() in seen
    Image.fromarray(np.zeros((31, 24), dtype=np.uint8)).save(tmp_path / "1.png")
    seen.add(FolderSource(tmp_path).fingerprint())
    (tmp_path / "marks.csv").write_text("film,label,x_min,y_min,x_max,y_max\n")
    seen.add(FolderSource(tmp_path, FolderConfig(boxes=tmp_path / "marks.csv")).fingerprint())
    write_manifest(tmp_path, [{**ROW, "view": "lateral"}])
    seen.add(FolderSource(tmp_path).fingerprint())
    (tmp_path / "1.png").unlink()
    seen.add(FolderSource(tmp_path).fingerprint())
    assert len(seen) == 5
