from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossray.data.iu_protocols import IU_R2GEN_LEGACY, IU_RR_V1, STRATIFIED_ON, iu_r2gen_legacy, iu_rr_v1
from crossray.data.selection import select_studies
from crossray.data.sources.base import Rejected, Remark
from crossray.data.sources.iu_films import film_name
from crossray.data.sources.iu_xray import IuXraySource
from crossray.data.sources.tables import read_table
from crossray.data.split_files import read_split, shared_texts
from crossray.data.split_table import SplitTable, text_key
from crossray.data.study import Study
from crossray.errors import DataError

IMAGES = """image,study_id,projection,dicom_view_position,orig_height,orig_width
1_IM-0001-3001.jpg,1,frontal,PA,60,50
1_IM-0001-4001.jpg,1,lateral,PA,60,50
2_IM-0002-1001.jpg,2,frontal,,,
2_IM-0002-1002.jpg,2,frontal,,60,50
9_IM-0009-1001.jpg,9,frontal,,60,50
"""
REPORTS = """study_id,n_images,indication,comparison,findings,impression,mesh_major,mesh_automatic,r2gen_split,license
1,2,Cough,None.,Heart is big.,Cardiomegaly.,Cardiomegaly/mild;Pulmonary Edema,,train,x
2,2,,,,No acute disease.,normal,,val,x
"""
XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR1"/>
<MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION">Cough</AbstractText>
<AbstractText Label="FINDINGS">Heart is
   big.</AbstractText><AbstractText Label="IMPRESSION">Cardiomegaly.</AbstractText>
</Abstract></Article></MedlineCitation>
<MeSH><major>Cardiomegaly/mild</major><major>Pulmonary Edema</major><automatic>effusion</automatic></MeSH>
<parentImage id="CXR1_1_IM-0001-3001"/><parentImage id="CXR1_1_IM-0001-4001"/><parentImage id="CXR1_1_IM-0001-5001"/>
</eCitation>
"""


Found = tuple[dict[str, Study], list[Rejected], list[Remark]]


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 32), 90, dtype=np.uint8)).save(path)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "images.csv").write_text(IMAGES)
    (tmp_path / "reports.csv").write_text(REPORTS)
    for name in ("1_IM-0001-3001", "1_IM-0001-4001", "2_IM-0002-1001"):
        write_image(tmp_path / "images" / f"{name}.jpg")
    return tmp_path


@pytest.fixture
def xml(tmp_path: Path) -> Path:
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / "ecgen-radiology" / "1.xml").write_text(XML)
    for name in ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"):
        write_image(tmp_path / "NLMCXR_png" / f"{name}.png")
    return tmp_path


def by_kind(root: Path) -> Found:
    items = list(IuXraySource(root).studies())
    found = {item.study_id: item for item in items if isinstance(item, Study)}
    rejected = [item for item in items if isinstance(item, Rejected)]
    return found, rejected, [item for item in items if isinstance(item, Remark)]


def test_the_table_layout_gives_films_with_their_true_shape_and_labels(tables: Path) -> None:
    found, _, _ = by_kind(tables)
    study = found["1"]
    assert [(film.film_id, film.view) for film in study.films] == [
        ("1_IM-0001-3001", "frontal"),
        ("1_IM-0001-4001", "lateral"),  # the people's word, not the header's PA
    ]
    assert (study.films[0].original_height, study.films[0].original_width) == (60, 50)
    assert (
        study.report.text == "INDICATION: Cough\nCOMPARISON: None.\nFINDINGS: Heart is big.\nIMPRESSION: Cardiomegaly."
    )
    assert (study.labels["Cardiomegaly"], study.labels["Edema"], study.labels["Pneumothorax"]) == (1.0, 1.0, 0.0)
    assert found["2"].labels["No Finding"] == 1.0
    assert study.patient_id is None


def test_a_film_without_shape_stays_square_and_is_remarked_on(tables: Path) -> None:
    found, _, remarks = by_kind(tables)
    assert [(r.study_id, r.rule, r.film_id) for r in remarks] == [("2", "shape_unknown_left_square", "2_IM-0002-1001")]
    assert found["2"].films[0].original_height is None


def test_missing_films_and_films_without_report_are_listed(tables: Path) -> None:
    _, rejected, _ = by_kind(tables)
    missing, unknown = rejected
    assert (missing.rule, missing.film_id, missing.row) == ("missing_file", "2_IM-0002-1002", 4)
    assert (unknown.study_id, unknown.rule, unknown.film_id) == ("9", "no_report", None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("orig_height", "height", "column 'orig_height' is missing"),
        ("1001.jpg,2,frontal", "1001.jpg,2,oblique", r"row 3.*projection.*oblique"),
        ("PA,60,50", "PA,60.5,50", r"row 1.*orig_height.*60\.5"),
    ],
)
def test_a_wrong_images_table_is_told_by_row_and_field(tables: Path, old: str, new: str, message: str) -> None:
    (tables / "images.csv").write_text(IMAGES.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        list(IuXraySource(tables).studies())


def test_xml_without_projections_gives_unknown_views_never_silent_laterals(xml: Path) -> None:
    found, rejected, remarks = by_kind(xml)
    assert [film.view for film in found["1"].films] == ["unknown", "unknown"]
    assert {remark.rule for remark in remarks} == {"view_unknown"}
    assert "indiana_projections.csv" in remarks[0].reason
    assert [(item.rule, item.film_id) for item in rejected] == [("missing_file", "1_IM-0001-5001")]
    selection = select_studies(IuXraySource(xml), ("frontal",))
    assert not selection.studies
    assert "view_unknown" in {event.rule for event in selection.events if isinstance(event, Rejected)}


def test_xml_with_projections_gives_the_study_of_the_table_layout(
    xml: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = "uid,filename,projection\n1,1_IM-0001-3001.dcm.png,Frontal\n1,1_IM-0001-4001.dcm.png,Lateral\n"
    (xml / "indiana_projections.csv").write_text(rows)
    found, _, _ = by_kind(xml)
    other = tmp_path_factory.mktemp("tables")
    (other / "images.csv").write_text(IMAGES)
    (other / "reports.csv").write_text(REPORTS)
    (other / "images").mkdir()
    same, _, _ = by_kind(other)
    assert found["1"].report == same["1"].report
    assert found["1"].labels == same["1"].labels
    assert [(film.film_id, film.view) for film in found["1"].films] == [
        ("1_IM-0001-3001", "frontal"),
        ("1_IM-0001-4001", "lateral"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "<eCitation><uId",
        "",
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><eCitation>&b;</eCitation>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><eCitation>&a;</eCitation>',
    ],
)
def test_an_xml_that_is_broken_or_hostile_is_left_out(xml: Path, content: str) -> None:
    (xml / "ecgen-radiology" / "2.xml").write_text(content)
    found, rejected, _ = by_kind(xml)
    assert list(found) == ["1"]
    assert [(item.study_id, item.rule) for item in rejected if item.film_id is None] == [("2", "unreadable_report")]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("CXR1_1_IM-0001-3001.png", "1_IM-0001-3001"),
        ("1_IM-0001-3001.dcm.png", "1_IM-0001-3001"),
        ("1_IM-0001-3001.jpg", "1_IM-0001-3001"),
        ("CXR10_IM-0002-1001", "10_IM-0002-1001"),
        ("CXR10_IM-0002-1001.png", "10_IM-0002-1001"),
        ("10_IM-0002-1001.dcm.png", "10_IM-0002-1001"),
    ],
)
def test_a_film_has_one_name_in_every_spelling(written: str, name: str) -> None:
    assert film_name(written) == name


def test_a_folder_without_the_collection_names_what_is_missing(tables: Path, tmp_path: Path) -> None:
    (tables / "reports.csv").unlink()
    with pytest.raises(DataError, match=r"not whole: reports.csv missing"):
        IuXraySource(tables)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"reports.csv, images.csv and images/.*ecgen-radiology"):
        IuXraySource(tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        IuXraySource(tmp_path / "nothing")


def test_the_fingerprint_changes_with_a_report_and_a_film(tables: Path) -> None:
    seen = {IuXraySource(tables).fingerprint()}
    (tables / "reports.csv").write_text(REPORTS.replace("big", "large"))
    seen.add(IuXraySource(tables).fingerprint())
    write_image(tables / "images" / "2_IM-0002-1002.jpg")
    seen.add(IuXraySource(tables).fingerprint())
    assert len(seen) == 3


@pytest.fixture(scope="module")
def real_iu(real_data: Path) -> Path:
    return real_data / "iu_xray"


@pytest.fixture(scope="module")
def real_items(real_iu: Path) -> Found:
    return by_kind(real_iu)


@pytest.fixture(scope="module")
def real_frontal(real_iu: Path) -> list[Study]:
    return select_studies(IuXraySource(real_iu), ("frontal",)).studies


@pytest.mark.real_data
def test_the_copy_at_hand_has_the_counts_of_its_readme(real_items: Found, real_frontal: list[Study]) -> None:
    found, rejected, remarks = real_items
    with_films = [study for study in found.values() if study.films]
    views = [film.view for study in with_films for film in study.films]
    assert (len(with_films), len(found) - len(with_films)) == (2855, 112)
    assert (views.count("frontal"), views.count("lateral"), views.count("unknown")) == (2799, 2665, 0)
    assert (len(rejected), [remark.rule for remark in remarks]) == (0, ["shape_unknown_left_square"])
    sections = [{section.name for section in study.report.sections} for study in with_films]
    assert sum("findings" in names for names in sections) == 2423
    assert sum("impression" in names for names in sections) == 2849
    assert len(real_frontal) == 2709


@pytest.mark.real_data
def test_iu_rr_v1_is_made_again_from_the_copy_at_hand(real_iu: Path, real_frontal: list[Study]) -> None:
    committed = read_split(IU_RR_V1)
    assert iu_rr_v1(IuXraySource(real_iu)) == committed
    table = SplitTable.from_studies(real_frontal, STRATIFIED_ON)
    text_key_of = dict(zip(table.study_ids, table.text_keys, strict=True))
    for fold in committed.folds:
        assert set(fold.study_ids) == set(table.study_ids)
        assert set(shared_texts(fold, text_key_of).values()) == {0}
        assert min(table.positives(fold)["test"]) >= 5


@pytest.mark.real_data
def test_the_legacy_list_shares_texts_between_its_sides(real_iu: Path, real_items: Found) -> None:
    committed = read_split(IU_R2GEN_LEGACY)
    assert iu_r2gen_legacy(read_table(real_iu / "reports.csv")) == committed
    (fold,) = committed.folds
    assert (len(fold.train), len(fold.validation), len(fold.test)) == (1812, 265, 0)
    found, _, _ = real_items
    text_key_of: Mapping[str, str] = {study_id: text_key(study.report) for study_id, study in found.items()}
    assert shared_texts(fold, text_key_of)["train", "validation"] == 52


@pytest.mark.real_data
def test_the_publishers_xml_gives_the_studies_of_the_tables(real_iu: Path, real_items: Found, tmp_path: Path) -> None:
    (tmp_path / "ecgen-radiology").symlink_to(real_iu / "original_format" / "ecgen-radiology")
    (tmp_path / "films").symlink_to(real_iu / "images")
    (tmp_path / "images.csv").symlink_to(real_iu / "images.csv")
    found, rejected, _ = by_kind(tmp_path)
    same, _, _ = real_items
    with (real_iu / "reports.csv").open(encoding="utf-8") as file:
        known = {row["study_id"] for row in csv.DictReader(file)}
    assert not [item for item in rejected if item.film_id is None]
    shared = found.keys() & known
    assert len(shared) == 20
    for study_id in shared:
        mine, theirs = found[study_id], same[study_id]
        assert mine.report == theirs.report
        np.testing.assert_equal(dict(mine.labels), dict(theirs.labels))
        assert [film.film_id for film in mine.films] == [film.film_id for film in theirs.films]
