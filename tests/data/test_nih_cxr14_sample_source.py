from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from crossray.data.equalise import equalise
from crossray.data.images import FilmPixels
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.nih_cxr14 import NihCxr14Options, NihCxr14Source
from crossray.data.sources.nih_cxr14_sample import NihCxr14SampleSource
from crossray.data.twins.material import TwinStudy
from crossray.data.twins.nih_cxr14 import is_test, nih_labels
from crossray.data.twins.nih_cxr14_sample import film_boxes, image, rsna_class
from crossray.errors import DataError
from tests.data.twins import found_in, make_twin

TWIN = NihCxr14Options(expected_counts="twin")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TwinStudy]]:
    folder = tmp_path_factory.mktemp("nih-sample") / "twin"
    return folder, make_twin("nih_cxr14_sample", folder)


def test_every_film_of_the_twin_is_read_back(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(NihCxr14SampleSource(twin[0], TWIN)).studies
    assert list(found) == [image(made).removesuffix(".jpg") for made in twin[1]]
    for study, made in zip(found.values(), twin[1], strict=True):
        present = {name for name, value in study.labels.items() if value == 1.0}
        assert present - {"Lung Opacity"} == set(nih_labels(made))
        assert (study.patient_id, study.report.text) == (str(made.patient + 1), "")
        assert study.films[0].boxes == tuple(box for boxes in film_boxes(made).values() for box in boxes)
        told = dict(study.attributes)
        assert (told["sex"], told["age"], told["view_position"]) == (made.sex, str(made.age), made.view_position)
        assert told["publisher_split"] == ("test" if is_test(made) else "train")
        assert told.get("rsna_class", "") == rsna_class(made)
        assert ("google_airspace_opacity" in told) == (made.number % 5 == 0)


def test_a_film_that_rsna_did_not_take_has_no_word_on_opacities(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(NihCxr14SampleSource(twin[0], TWIN)).studies
    for study, made in zip(found.values(), twin[1], strict=True):
        (film,) = study.films
        taken, drawn = rsna_class(made) != "", "RSNA 2018" in film_boxes(made)
        assert math.isnan(study.labels["Lung Opacity"]) != taken
        assert ("opacity" in film.masks) == taken
        if taken:
            assert study.labels["Lung Opacity"] == drawn
            assert bool(film.masks["opacity"].read().any()) == drawn


def test_boxes_of_each_origin_have_names_and_masks_of_their_own(twin: tuple[Path, list[TwinStudy]]) -> None:
    for study in found_in(NihCxr14SampleSource(twin[0], TWIN)).studies.values():
        (film,) = study.films
        sources = study.attributes.get("box_sources", "").split("|")
        for box, source in zip(film.boxes, sources, strict=bool(film.boxes)):
            assert (box.label == "Lung Opacity") == (source == "RSNA 2018")
        assert film.masks.keys() - {"opacity"} == {box.label for box in film.boxes} - {"Lung Opacity"}


def test_films_are_equalised_on_request(twin: tuple[Path, list[TwinStudy]]) -> None:
    options = NihCxr14Options(expected_counts="twin", equalise=True)
    name, study = next(iter(found_in(NihCxr14SampleSource(twin[0], options)).studies.items()))
    expected = equalise(FilmPixels(twin[0] / "images" / f"{name}.jpg").read())
    np.testing.assert_array_equal(study.films[0].pixels.read(), expected)


def test_the_source_of_the_published_layout_names_the_one_to_take(twin: tuple[Path, list[TwinStudy]]) -> None:
    with pytest.raises(DataError, match="read by the source nih_cxr14_sample"):
        NihCxr14Source(twin[0])


@pytest.mark.real_data
def test_the_copy_at_hand_has_the_counts_of_its_readme(real_data: Path, tmp_path: Path) -> None:
    source = NihCxr14SampleSource(real_data / "nih_cxr14")
    found = found_in(source)
    studies = list(found.studies.values())
    assert (found.rejected, found.remarks) == ([], [])
    assert (len(studies), len({study.patient_id for study in studies})) == (750, 505)
    positives = Counter(name for study in studies for name, value in study.labels.items() if value == 1.0)
    assert (positives["Pneumonia"], positives["No Finding"], positives["Hernia"]) == (365, 385, 0)
    assert Counter(study.labels["Lung Opacity"] for study in studies if study.attributes.get("rsna_id")) == {
        1.0: 89,
        0.0: 160,
    }
    sources = [study.attributes.get("box_sources", "").split("|") for study in studies]
    assert Counter(name for names in sources for name in names if name) == {"RSNA 2018": 142, "NIH BBox_List_2017": 34}
    assert Counter(study.attributes["publisher_split"] for study in studies) == {"train": 642, "test": 108}
    assert sum("google_airspace_opacity" in study.attributes for study in studies) == 31
    summary = prepare_store(source, tmp_path / "store", PrepareConfig(size=16), workers=1)
    assert (summary.manifest.films, summary.funnel.study_rules, summary.funnel.film_rules) == (750, {}, {})
