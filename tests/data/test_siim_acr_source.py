from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from crossray.data.equalise import equalise
from crossray.data.sources.siim_acr import SiimAcrOptions, SiimAcrSource
from crossray.data.twins.material import TwinStudy
from crossray.data.twins.siim_acr import image_id, pleural_mask
from crossray.errors import DataError, StudyError
from tests.data.twins import CONFIG, found_in, make_twin, replace_in

TWIN, UNCHECKED = SiimAcrOptions(expected_counts="twin"), SiimAcrOptions(expected_counts="none")
TABLE = "train-rle.csv"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TwinStudy]]:
    folder = tmp_path_factory.mktemp("siim") / "twin"
    return folder, make_twin("siim_acr", folder)


@pytest.fixture
def copy(twin: tuple[Path, list[TwinStudy]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin[0], tmp_path / "copy"))


def test_every_film_of_the_twin_is_read_back_with_its_mask_pixel_by_pixel(twin: tuple[Path, list[TwinStudy]]) -> None:
    folder, material = twin
    found = found_in(SiimAcrSource(folder, TWIN))
    assert (found.rejected, found.remarks) == ([], [])
    assert list(found.studies) == [image_id(CONFIG, made) for made in material]
    for study, made in zip(found.studies.values(), material, strict=True):
        (film,) = study.films
        inside = pleural_mask(made)
        np.testing.assert_array_equal(film.masks["pneumothorax"].read(), np.where(inside, 255, 0))
        assert (study.labels, film.boxes) == ({"Pneumothorax": float(inside.any())}, ())
        assert (study.patient_id, study.report.text, film.view) == (None, "", "frontal")
        np.testing.assert_array_equal(film.pixels.read(), equalise(made.pixels))


def test_the_twin_has_the_quirks_of_the_table(twin: tuple[Path, list[TwinStudy]]) -> None:
    lines = (twin[0] / TABLE).read_text().splitlines()
    ids = [line.split(",")[0] for line in lines[1:]]
    assert lines[0] == "ImageId, EncodedPixels"
    assert any(line.endswith(", -1") for line in lines)
    assert len(ids) > len(set(ids))


def test_blanks_in_the_header_and_before_minus_one_make_no_difference(copy: Path) -> None:
    before = found_in(SiimAcrSource(copy, TWIN)).studies
    table = copy / TABLE
    table.write_text(table.read_text().replace(", ", ","))
    after = found_in(SiimAcrSource(copy, TWIN)).studies
    assert {name: study.labels for name, study in after.items()} == {
        name: study.labels for name, study in before.items()
    }
    for name, study in after.items():
        mask = study.films[0].masks["pneumothorax"].read()
        np.testing.assert_array_equal(mask, before[name].films[0].masks["pneumothorax"].read())
        assert study.labels["Pneumothorax"] == float(mask.any())


def test_rows_of_one_film_need_not_stand_together(copy: Path) -> None:
    before = {name: study.labels for name, study in found_in(SiimAcrSource(copy, TWIN)).studies.items()}
    header, *rows = (copy / TABLE).read_text().splitlines()
    (copy / TABLE).write_text("\n".join([header, *reversed(rows)]) + "\n")
    after = {name: study.labels for name, study in found_in(SiimAcrSource(copy, TWIN)).studies.items()}
    assert after == before


@pytest.mark.parametrize("code", ["", "5", "3 2 4", "3 x", "-2", "3 -2"])
def test_a_row_that_is_no_code_leaves_its_film_out(copy: Path, code: str) -> None:
    replace_in(copy / TABLE, ", -1\n", f", {code}\n")
    found = found_in(SiimAcrSource(copy, UNCHECKED))
    (left_out,) = found.rejected
    assert (left_out.rule, left_out.file) == ("bad_row", str(copy / TABLE))
    assert f"'{code}' is not run-length code" in left_out.reason
    assert len(found.studies) == 15
    with pytest.raises(DataError, match="studies: 16 expected, 15 found"):
        found_in(SiimAcrSource(copy, TWIN))


def test_runs_beyond_the_film_are_told_when_the_mask_is_drawn(copy: Path) -> None:
    replace_in(copy / TABLE, ", -1\n", ", 0 99999999\n")
    found = found_in(SiimAcrSource(copy, UNCHECKED))
    problems = []
    for study in found.studies.values():
        try:
            study.films[0].masks["pneumothorax"].read()
        except StudyError as error:
            problems.append(error.problem)
    assert len(problems) == 1
    assert "leaves the film" in problems[0]


def test_a_film_without_a_row_is_listed(copy: Path) -> None:
    film = next((copy / "dicom-images-train").glob("*/*/*.dcm"))
    film.rename(film.with_name("1.2.3.dcm"))
    found = found_in(SiimAcrSource(copy, UNCHECKED))
    assert [(item.study_id, item.rule) for item in found.rejected] == [
        (film.stem, "missing_file"),
        ("1.2.3", "no_label"),
    ]
