from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossray.data.equalise import equalise
from crossray.data.sources.covid_rural import CovidRuralOptions, CovidRuralSource
from crossray.data.twins.covid_rural import has_mask, opacity_mask, patient, stem
from crossray.data.twins.material import TwinStudy
from crossray.errors import DataError
from tests.data.twins import found_in, make_twin

TWIN, UNCHECKED = CovidRuralOptions(expected_counts="twin"), CovidRuralOptions(expected_counts="none")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TwinStudy]]:
    folder = tmp_path_factory.mktemp("covid") / "twin"
    return folder, make_twin("covid_rural", folder)


@pytest.fixture
def copy(twin: tuple[Path, list[TwinStudy]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin[0], tmp_path / "copy"))


def test_every_film_with_a_mask_is_read_back(twin: tuple[Path, list[TwinStudy]]) -> None:
    folder, material = twin
    found = found_in(CovidRuralSource(folder, TWIN))
    masked = {stem(made): made for made in material if has_mask(made)}
    assert found.studies.keys() == masked.keys()
    for name, study in found.studies.items():
        made, (film,) = masked[name], study.films
        np.testing.assert_array_equal(film.masks["opacity"].read(), np.where(opacity_mask(made), 255, 0))
        assert (study.patient_id, study.labels, film.boxes) == (patient(made), {}, ())
        assert study.attributes == {"age": str(made.age), "sex": made.sex}
    assert len({study.patient_id for study in found.studies.values()}) < len(found.studies)


def test_films_without_a_mask_are_listed(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(CovidRuralSource(twin[0], TWIN))
    assert [(item.study_id, item.rule) for item in found.rejected] == [
        (stem(made), "no_mask") for made in twin[1] if not has_mask(made)
    ]


def test_the_channels_are_averaged_and_then_equalised(copy: Path) -> None:
    name, study = next(iter(found_in(CovidRuralSource(copy, TWIN)).studies.items()))
    pixels = np.zeros((40, 30, 3), dtype=np.uint8)
    pixels[:] = np.arange(30)[None, :, None] * 8
    pixels[..., 1] += 9  # a tint, as scanners give
    Image.fromarray(pixels).save(copy / "jpgs" / f"{name}.jpg", quality=100, subsampling=0)
    written = np.asarray(Image.open(copy / "jpgs" / f"{name}.jpg"))
    grey = np.rint(written.mean(axis=2)).astype(np.uint8)
    assert (grey != written[..., 0]).any()
    np.testing.assert_array_equal(study.films[0].pixels.read(), equalise(grey))


def test_masks_of_the_twin_hold_0_and_1(twin: tuple[Path, list[TwinStudy]]) -> None:
    values = {
        int(value) for path in (twin[0] / "pngs_masks").iterdir() for value in np.unique(np.asarray(Image.open(path)))
    }
    assert values == {0, 1}


def test_names_and_masks_that_do_not_fit_are_listed_and_counted(copy: Path) -> None:
    films = sorted((copy / "jpgs").iterdir())
    films[0].rename(films[0].with_name("COVID-19-AR-1640_01-01-2012-XR.jpg"))
    found = found_in(CovidRuralSource(copy, UNCHECKED))
    rules = {item.study_id: item.rule for item in found.rejected if item.rule != "no_mask"}
    assert rules == {films[0].stem: "missing_file", "COVID-19-AR-1640_01-01-2012-XR": "unknown_name"}
    with pytest.raises(DataError, match=r"studies: \d+ expected"):
        found_in(CovidRuralSource(copy, TWIN))


def test_the_table_of_patients_may_be_missing(copy: Path) -> None:
    (copy / "covid_rural_patient_info.csv").unlink()
    found = found_in(CovidRuralSource(copy, TWIN))
    assert {len(study.attributes) for study in found.studies.values()} == {0}
