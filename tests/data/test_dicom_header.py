"""Headers without pixels, and which attribute tells the view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from crossray.data.dicom_header import DicomHeader, read_header
from crossray.data.dicom_view import view_in_words, view_of
from crossray.data.study import View
from crossray.errors import StudyError
from tests.data.dicom_writing import radiograph, write


def header(tmp_path: Path, key: str = "AccessionNumber", **attributes: Any) -> DicomHeader:
    return read_header(write(radiograph(**attributes), tmp_path / "film.dcm"), key)


def code(value: str, meaning: str = "") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = value, meaning
    return item


def test_a_header_says_whose_and_what_it_is(tmp_path: Path) -> None:
    found = header(tmp_path, Modality="DX", ImageType=["ORIGINAL", "PRIMARY", ""], AccessionNumber=" A 7 ")
    assert (found.patient_id, found.accession_number, found.key, found.modality) == ("P1", "A 7", "A 7", "DX")
    assert (found.rows, found.columns, found.frames) == (48, 64, 1)
    assert found.image_type == ("ORIGINAL", "PRIMARY")
    assert found.sop_instance_uid.startswith("1.2")


def test_any_keyword_can_be_the_key(tmp_path: Path) -> None:
    found = header(tmp_path, key="StudyInstanceUID")
    assert found.key == found.study_instance_uid != ""


def test_pixels_are_not_needed(tmp_path: Path) -> None:
    assert header(tmp_path, PixelData=None, Rows=None, Columns=None).rows == 0


def test_the_patient_name_is_never_shown(tmp_path: Path) -> None:
    found = header(tmp_path, PatientName="Müller-Lüdenscheidt^Jane", SpecificCharacterSet="ISO_IR 100")
    assert "müller" in found.name_words
    assert "müller" not in repr(found).casefold()


def test_a_pseudonym_is_no_name(tmp_path: Path) -> None:
    assert header(tmp_path, PatientName="Anonymous^P1").name_words == frozenset()


@pytest.mark.parametrize(
    ("position", "view"),
    [
        ("PA", "frontal"), ("AP", "frontal"), ("LL", "lateral"), ("RL", "lateral"), ("LATERAL", "lateral"),
        ("LAO", "unknown"), ("RPO", "unknown"), ("LLD", "unknown"), ("", "unknown"), ("CHEST", "unknown"),
    ],
)  # fmt: skip
def test_view_position_decides(position: str, view: View, tmp_path: Path) -> None:
    assert header(tmp_path, ViewPosition=position).view == view


@pytest.mark.parametrize(
    ("value", "view"),
    [("399348003", "frontal"), ("272479007", "frontal"), ("R-10206", "frontal"), ("399173006", "lateral")],
)
def test_the_view_code_decides_where_the_position_is_silent(value: str, view: View, tmp_path: Path) -> None:
    found = header(tmp_path, ViewPosition="", ViewCodeSequence=[code(value)], SeriesDescription="AP LAT OBLIQUE")
    assert (found.view, found.view_source) == (view, "ViewCodeSequence")


def test_the_meaning_of_an_unlisted_code_is_read(tmp_path: Path) -> None:
    assert header(tmp_path, ViewCodeSequence=[code("99-LOCAL", "Left lateral")]).view == "lateral"


@pytest.mark.parametrize(
    ("words", "view"),
    [
        ("CHEST PA", "frontal"), ("Thorax a.p. Bett", "frontal"), ("view: AP", "frontal"),
        ("CHEST_AP_PORTABLE", "frontal"), ("W033 Chest ll", "lateral"),
        ("Postero-Anterior", "frontal"), ("Chest lat", "lateral"), ("THORAX SEITLICH", "lateral"),
        ("CHEST PA/LAT", None), ("Chest 2 views", None), ("", None), ("PAPER", None), ("LATEST", None),
        ("L LAT DECUB", "unknown"), ("Chest oblique RAO", "unknown"),
    ],
)  # fmt: skip
def test_words_that_name_a_view(words: str, view: View | None) -> None:
    assert view_in_words(words) == view


def test_descriptions_are_asked_last_and_in_order(tmp_path: Path) -> None:
    found = header(tmp_path, SeriesDescription="CHEST 2 VIEWS", ProtocolName="Chest Lateral")
    assert (found.view, found.view_source) == ("lateral", "ProtocolName")


def test_a_later_attribute_that_contradicts_is_named() -> None:
    found = view_of("PA", [], {"SeriesDescription": "CHEST LATERAL", "ProtocolName": "CHEST LATERAL"})
    assert (found.view, found.source, found.contradiction) == ("frontal", "ViewPosition", "SeriesDescription")


def test_agreement_is_no_contradiction() -> None:
    assert view_of("PA", [("R-10206", "")], {"SeriesDescription": "frontal"}).contradiction == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "the file is empty"),
        (b"\x89PNG" + b"\0" * 300, "is not a DICOM file"),
        (b"\x08\x00\x05\x00" + b"\xff" * 300, "DICOM file|damaged"),
        (b"\0" * 128 + b"DICM" + b"\x02\x00\x10\x00UI\xff\xff" + b"\x01" * 64, "DICOM file|damaged"),
    ],
)
def test_what_is_no_dicom_file_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StudyError, match=message) as caught:
        read_header(path)
    assert caught.value.file == str(path)


@pytest.mark.real_data
def test_the_sample_is_a_frontal_film(real_data: Path) -> None:
    found = read_header(real_data / "dicom_sample" / "chest_monochrome1.dcm")
    assert (found.view, found.view_source, found.rows, found.columns) == ("frontal", "ViewPosition", 1024, 1024)
    assert found.name_words == frozenset()
