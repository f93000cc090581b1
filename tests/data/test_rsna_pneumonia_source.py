from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from crossray.data.sources.expected import PublishedOptions
from crossray.data.sources.rsna_pneumonia import RsnaPneumoniaSource
from crossray.data.study import Box
from crossray.data.twins.material import TwinStudy
from crossray.data.twins.rsna_pneumonia import opacity_boxes, patient_id
from crossray.errors import DataError
from tests.data.twins import CONFIG, found_in, make_twin, replace_in

TWIN, UNCHECKED = PublishedOptions(expected_counts="twin"), PublishedOptions(expected_counts="none")
LABELS = "stage_2_train_labels.csv"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TwinStudy]]:
    folder = tmp_path_factory.mktemp("rsna") / "twin"
    return folder, make_twin("rsna_pneumonia", folder)


@pytest.fixture
def copy(twin: tuple[Path, list[TwinStudy]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin[0], tmp_path / "copy"))


def test_every_film_of_the_twin_is_read_back(twin: tuple[Path, list[TwinStudy]]) -> None:
    folder, material = twin
    found = found_in(RsnaPneumoniaSource(folder, TWIN))
    assert (found.rejected, found.remarks) == ([], [])
    assert list(found.studies) == [patient_id(CONFIG, made) for made in material]
    for study, made in zip(found.studies.values(), material, strict=True):
        (film,) = study.films
        boxes = [Box("Lung Opacity", b.x_min, b.y_min, b.x_max, b.y_max) for b in opacity_boxes(made)]
        assert (list(film.boxes), study.labels) == (boxes, {"Lung Opacity": float(bool(boxes))})
        # The publisher's patientId names a film: to take it for a person would claim what nobody knows.
        assert (study.patient_id, study.report.text, film.view) == (None, "", "frontal")
        assert (study.attributes["detailed_class"] == "Lung Opacity") == bool(boxes)
        np.testing.assert_array_equal(film.pixels.read(), made.pixels)


def test_a_mask_is_the_union_of_filled_boxes_and_empty_without_any(twin: tuple[Path, list[TwinStudy]]) -> None:
    seen = set()
    for study, made in zip(found_in(RsnaPneumoniaSource(twin[0], TWIN)).studies.values(), twin[1], strict=True):
        drawn = np.zeros(made.pixels.shape, dtype=np.uint8)
        for box in opacity_boxes(made):
            drawn[int(box.y_min) : int(box.y_max), int(box.x_min) : int(box.x_max)] = 255
        np.testing.assert_array_equal(study.films[0].masks["opacity"].read(), drawn)
        seen.add(len(opacity_boxes(made)))
    assert seen >= {0, 1, 2}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (",1\n", ",2\n", "Target '2' with 4 of four cells of a box."),
        (",1\n", ",0\n", "Target '0' with 4 of four cells of a box."),
        (",,,,0\n", ",,,,1\n", "Target '1' with 0 of four cells of a box."),
        (",,,,,0\n", ",1.0,2.0,3.0,4.0,0\n", "Target '0' with 4 of four cells of a box."),
        (",1\n", ",1,9\n", "has 7 cells, the header has 6."),
        (".0,1\n", ".0 px,1\n", "px' is not a number."),
    ],
)
def test_a_broken_row_leaves_its_film_out_and_is_counted(copy: Path, old: str, new: str, reason: str) -> None:
    replace_in(copy / LABELS, old, new)
    found = found_in(RsnaPneumoniaSource(copy, UNCHECKED))
    (left_out,) = found.rejected
    assert left_out.rule == "bad_row"
    assert reason in left_out.reason
    assert (left_out.file, isinstance(left_out.row, int)) == (str(copy / LABELS), True)
    assert len(found.studies) == 15
    with pytest.raises(DataError, match="studies: 16 expected, 15 found"):
        found_in(RsnaPneumoniaSource(copy, TWIN))


def test_a_film_called_positive_and_negative_is_left_out(copy: Path) -> None:
    table = copy / LABELS
    positive = next(line for line in table.read_text().splitlines() if line.endswith(",1"))
    table.write_text(f"{table.read_text()}{positive.split(',')[0]},,,,,0\n")
    (left_out,) = found_in(RsnaPneumoniaSource(copy, UNCHECKED)).rejected
    assert "Target 0 beside" in left_out.reason


def test_a_row_more_than_published_is_seen_though_every_film_is_there(copy: Path) -> None:
    table = copy / LABELS
    positive = next(line for line in table.read_text().splitlines() if line.endswith(",1"))
    table.write_text(f"{table.read_text()}{positive}\n")
    with pytest.raises(DataError, match=r"boxes: .*rows of stage_2_train_labels.csv"):
        found_in(RsnaPneumoniaSource(copy, TWIN))


def test_a_film_without_a_row_is_listed(copy: Path) -> None:
    film = next((copy / "stage_2_train_images").iterdir())
    film.rename(film.with_name("another.dcm"))
    found = found_in(RsnaPneumoniaSource(copy, UNCHECKED))
    assert [(item.study_id, item.rule) for item in found.rejected] == [
        (film.stem, "missing_file"),
        ("another", "no_label"),
    ]


def test_the_detailed_classes_may_be_missing(copy: Path) -> None:
    (copy / "stage_2_detailed_class_info.csv").unlink()
    found = found_in(RsnaPneumoniaSource(copy, TWIN))
    assert {len(study.attributes) for study in found.studies.values()} == {0}


@pytest.mark.real_data
def test_a_real_film_of_the_set_is_read(real_data: Path, tmp_path: Path) -> None:
    sample = real_data / "dicom_sample"
    film_id = "16d7f894-55d7-4d95-8957-d18987f0e981"
    films = tmp_path / "stage_2_train_images"
    films.mkdir()
    (films / f"{film_id}.dcm").symlink_to(sample / "chest_monochrome2.dcm")
    # The copy at hand has the header of the table and no row for this film: the box here is the test's own.
    header = (sample / LABELS).read_text()
    assert header.splitlines() == ["patientId,x,y,width,height,Target"]
    (tmp_path / LABELS).write_text(f"{header}{film_id},264.0,152.0,213.0,379.0,1\n")
    (study,) = found_in(RsnaPneumoniaSource(tmp_path, UNCHECKED)).studies.values()
    (film,) = study.films
    pixels, mask = film.pixels.read(), film.masks["opacity"].read()
    assert pixels.shape == mask.shape == (1024, 1024)
    assert pixels.std() > 20
    assert film.boxes == (Box("Lung Opacity", 264, 152, 477, 531),)
    assert np.count_nonzero(mask) == 213 * 379
    assert mask[152:531, 264:477].all()
