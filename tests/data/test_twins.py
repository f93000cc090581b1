from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossray.data.images import FilmPixels
from crossray.data.sources.build import SOURCE_NAMES
from crossray.data.sources.expected import read_twin_record
from crossray.data.twins.build import TWIN_NAMES, write_twin
from crossray.data.twins.files import twin_uid, write_dicom
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies
from crossray.errors import ConfigError, DataError
from crossray.files import sha256_of


@pytest.fixture(scope="module")
def material() -> list[TwinStudy]:
    return twin_studies(TwinConfig())


def test_the_material_is_the_same_for_the_same_seed(material: list[TwinStudy]) -> None:
    again = twin_studies(TwinConfig(count=8))
    for mine, theirs in zip(again, material, strict=False):
        np.testing.assert_array_equal(mine.pixels, theirs.pixels)
        assert (mine.report, mine.sex, mine.age, mine.view_position, mine.boxes) == (
            theirs.report,
            theirs.sex,
            theirs.age,
            theirs.view_position,
            theirs.boxes,
        )
    assert twin_studies(TwinConfig(count=8, seed=1))[0].report != material[0].report


def test_the_material_has_what_every_layout_needs(material: list[TwinStudy]) -> None:
    patients = {study.patient for study in material}
    assert len(patients) < len(material)
    assert patients == set(range(len(patients)))
    assert {study.sex for study in material} == {"F", "M"}
    assert {study.view_position for study in material} == {"AP", "PA"}
    assert {study.visit for study in material} >= {0, 1}
    assert any(study.boxes for study in material)
    assert any(not study.boxes for study in material)
    for study in material:
        assert max(study.pixels.shape) == 96
        assert {box.label for box in study.boxes} == set(study.masks)
        assert study.lateral.shape == (study.pixels.shape[0], study.pixels.shape[1] * 3 // 4)


def test_twin_films_in_dicom_are_read_back(tmp_path: Path, material: list[TwinStudy]) -> None:
    write_dicom(tmp_path / "film.dcm", material[0].pixels, PatientID="7", ViewPosition="PA")
    read = FilmPixels(tmp_path / "film.dcm").read().astype(int)
    assert np.corrcoef(read.ravel(), material[0].pixels.ravel())[0, 1] > 0.999
    assert len(twin_uid("study", 1)) <= 64


def test_an_unknown_twin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no twin 'nobody'"):
        write_twin("nobody", tmp_path, TwinConfig())


def test_every_twin_has_its_source() -> None:
    assert set(TWIN_NAMES) <= set(SOURCE_NAMES)


@pytest.mark.parametrize("name", ["mimic_cxr", "chexpert", "chexphoto", "nih_cxr14"])
def test_the_same_seed_writes_the_same_files_wherever_they_lie(name: str, tmp_path: Path) -> None:
    config = TwinConfig(count=8, size=64, seed=5)
    hashes = []
    for folder in (tmp_path / "a", tmp_path / "deeper" / "b"):
        expected = write_twin(name, folder, config)
        record = read_twin_record(folder)
        assert (record.name, record.count, record.seed, record.expected) == (name, 8, 5, expected)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        hashes.append({str(path.relative_to(folder)): sha256_of(path) for path in files})
    assert hashes[0] == hashes[1]
    with pytest.raises(DataError, match="is not empty"):
        write_twin(name, tmp_path / "a", config)
