from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.expected import PublishedOptions
from crossray.data.sources.mhh_covid import LABELS, MhhCovidSource
from crossray.data.split_table import SplitTable, split_table
from crossray.data.splits import SIDES
from crossray.data.twins.files import Pixels
from crossray.data.twins.lungs import lung_boxes, lung_mask
from crossray.data.twins.material import TwinStudy
from crossray.data.twins.mhh_covid import course, film, image_id, is_crop, patient_id
from tests.data.twins import CONFIG, found_in, make_twin

TWIN = PublishedOptions(expected_counts="twin")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TwinStudy]]:
    folder = tmp_path_factory.mktemp("mhh") / "twin"
    return folder, make_twin("mhh_covid", folder)


def test_every_film_of_the_twin_is_read_back(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(MhhCovidSource(twin[0], TWIN)).studies
    assert list(found) == [image_id(CONFIG, made) for made in twin[1]]
    for study, made in zip(found.values(), twin[1], strict=True):
        assert (study.patient_id, study.labels) == (patient_id(CONFIG, made), course(made))
        assert study.films[0].view == "frontal"
        assert study.attributes["sex"] == made.sex
        assert study.attributes["view_position"] == made.view_position
        assert study.attributes["variant"] == ("square crop" if is_crop(made) else "whole")
        assert ("crp_val" in study.attributes) == (made.number % 2 == 1)


def test_only_crops_have_boxes_and_a_mask_with_pixels_to_ignore(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(MhhCovidSource(twin[0], TWIN)).studies
    for study, made in zip(found.values(), twin[1], strict=True):
        (read,) = study.films
        expected: dict[str, Pixels] = {"lungs": lung_mask(film(made))} if is_crop(made) else {}
        assert read.boxes == (tuple(lung_boxes(film(made))) if is_crop(made) else ())
        assert read.masks.keys() == expected.keys()
        for name, mask in expected.items():
            np.testing.assert_array_equal(read.masks[name].read(), mask)
            assert set(np.unique(mask)) == {0, 127, 255}


def test_whole_films_and_crops_of_a_patient_stay_on_one_side(twin: tuple[Path, list[TwinStudy]]) -> None:
    studies = list(found_in(MhhCovidSource(twin[0], TWIN)).studies.values())
    variants: dict[str | None, set[str]] = {}
    for study in studies:
        variants.setdefault(study.patient_id, set()).add(study.attributes["variant"])
    assert max(map(len, variants.values())) == 2
    (fold,) = split_table(SplitTable.from_studies(studies, LABELS), test_fraction=0.4, validation_fraction=0).folds
    patient_of = {study.study_id: study.patient_id for study in studies}
    sides = [{patient_of[study_id] for study_id in fold.side(side)} for side in SIDES]
    assert sum(map(len, sides)) == len(set().union(*sides))


@pytest.mark.real_data
def test_the_copy_at_hand_has_the_counts_of_its_readme(real_data: Path, tmp_path: Path) -> None:
    source = MhhCovidSource(real_data / "mhh_covid")
    found = found_in(source)
    studies = list(found.studies.values())
    assert (found.rejected, found.remarks) == ([], [])
    assert (len(studies), len({study.patient_id for study in studies})) == (183, 51)
    assert [sum(study.labels[name] == 1.0 for study in studies) for name in LABELS] == [144, 26]
    assert Counter(study.attributes["variant"] for study in studies) == {"whole": 107, "square crop": 76}
    assert Counter(study.attributes["view_position"] for study in studies) == {"AP": 149, "PA": 34}
    boxed = [study.films[0] for study in studies if study.films[0].boxes]
    assert (len(boxed), sum(len(film.boxes) for film in boxed)) == (76, 152)
    assert sum("lungs" in study.films[0].masks for study in studies) == 59
    summary = prepare_store(source, tmp_path / "store", PrepareConfig(size=32), workers=1)
    assert (summary.manifest.films, summary.funnel.study_rules, summary.funnel.film_rules) == (183, {}, {})
