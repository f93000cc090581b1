from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossray.data.images import FilmPixels
from crossray.data.twins.build import write_twin
from crossray.data.twins.files import twin_uid, write_dicom
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies
from crossray.errors import ConfigError


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
