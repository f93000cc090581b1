"""Patients' names in many scripts and spellings are known again in reports and in paths."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from crossray.data.dicom_scan import scan_file
from crossray.data.person_names import name_patterns, name_spellings
from tests.data.dicom_writing import radiograph, write


def masked(text: str, names: str, patient_id: str = "P1") -> str:
    for pattern in name_patterns(name_spellings(names, patient_id)):
        text = pattern.sub(lambda match: "_" * len(match[0]), text)
    return text


@pytest.mark.parametrize(
    ("names", "text", "left"),
    [
        ("Weißhäupl^Jürgen", "Weißhäupl WEISSHÄUPL Weisshaeupl Weisshaupl, JUERGEN", "_________ __________ "),
        ("Müller-Lüdenscheidt^Änne", "Frau Mueller-Luedenscheidt, A.", "Frau _______-_____________, A."),
        ("Łukasiewicz^Zdzisława", "LUKASIEWICZ, Zdzislawa", "___________, _________"),
        ("Wang^XiaoDong=王^小东", "患者王小东胸片, WANG XiaoDong", "患者___胸片, ____ ________"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田 太郎 (やまだたろう)", "__ __ (______)"),
        ("MÃ¼ller^Anna", "Seen: Müller.", "Seen: ______."),
        ("Long^White", "Long line, white lung", "____ line, white lung"),
        (unicodedata.normalize("NFD", "Müller^Anna"), unicodedata.normalize("NFD", "Müller."), "_______."),
    ],
)
def test_a_name_is_known_again_however_it_is_spelled(names: str, text: str, left: str) -> None:
    assert masked(text, names).startswith(left)


def test_a_name_that_only_repeats_the_id_is_none_and_an_id_with_the_name_in_it_hides_nothing() -> None:
    assert name_spellings("COVID-19-AR-7", "COVID-19-AR-7") == frozenset()
    assert masked("Quimbleton", "Quimbleton^Zephyrine", "QUIMBLETON1950") == "__________"


@pytest.mark.parametrize(
    ("names", "charset", "folder", "left"),
    [
        ("Weißhäupl^Jürgen", "ISO_IR 100", "Weißhäupl_Juergen", "***_***"),
        ("Wang^XiaoDong=王^小东", "GB18030", "王小东", "***"),
        ("Müller^Anna", "ISO_IR 192", unicodedata.normalize("NFD", "Müller"), "***"),
    ],
)
def test_a_folder_that_is_called_like_the_patient_is_refused_and_masked(
    names: str, charset: str, folder: str, left: str, tmp_path: Path
) -> None:
    write(radiograph(SpecificCharacterSet=charset, PatientName=names), tmp_path / folder / "film.dcm")
    scanned = scan_file(tmp_path, f"{folder}/film.dcm", key="AccessionNumber")
    assert (scanned.rule, scanned.path) == ("name_in_path", f"{left}/film.dcm")
