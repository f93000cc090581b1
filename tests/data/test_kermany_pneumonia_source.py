from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.expected import PublishedOptions
from crossray.data.sources.kermany_pneumonia import CLASSES, PNEUMONIA, KermanyPneumoniaSource
from crossray.data.twins.kermany_pneumonia import label, patient_id, stem
from crossray.data.twins.lungs import lung_mask
from tests.data.twins import found_in, make_twin

TWIN = PublishedOptions(expected_counts="twin")


def test_every_film_of_the_twin_is_read_back(tmp_path: Path) -> None:
    material = make_twin("kermany_pneumonia", tmp_path / "twin")
    found = found_in(KermanyPneumoniaSource(tmp_path / "twin", TWIN)).studies
    assert list(found) == [stem(made) for made in material]
    assert {label(made) for made in material} == set(CLASSES)
    for study, made in zip(found.values(), material, strict=True):
        (film,) = study.films
        assert (study.patient_id, film.view, film.boxes) == (patient_id(made), "frontal", ())
        assert [study.labels[name] for name in CLASSES] == [float(name == label(made)) for name in CLASSES]
        assert study.labels[PNEUMONIA] == (label(made) in ("bacterial", "viral"))
        np.testing.assert_array_equal(film.masks["lungs"].read(), lung_mask(made.pixels))
        assert 0 < float(study.attributes["lung_fraction"]) < 1


@pytest.mark.real_data
def test_the_copy_at_hand_has_the_counts_of_its_readme(real_data: Path, tmp_path: Path) -> None:
    source = KermanyPneumoniaSource(real_data / "kermany_pneumonia")
    found = found_in(source)
    studies = list(found.studies.values())
    assert (found.rejected, found.remarks) == ([], [])
    assert (len(studies), len({study.patient_id for study in studies})) == (648, 503)
    counts = Counter(name for study in studies for name, value in study.labels.items() if value == 1.0)
    assert counts == {"normal": 240, "bacterial": 205, "viral": 203, "Pneumonia": 408}
    assert all(list(study.films[0].masks) == ["lungs"] for study in studies)
    summary = prepare_store(source, tmp_path / "store", PrepareConfig(size=16), workers=1)
    assert (summary.manifest.films, summary.funnel.study_rules, summary.funnel.film_rules) == (648, {}, {})
