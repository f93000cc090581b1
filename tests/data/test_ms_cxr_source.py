from __future__ import annotations

import csv
import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.ms_cxr import CATEGORIES, MsCxrOptions, MsCxrSource
from crossray.data.sources.ms_cxr_table import newest_table, phrase_rows
from crossray.data.store import Store
from crossray.data.twins.material import TwinStudy
from crossray.data.twins.ms_cxr import dicom_name, has_report, phrases
from crossray.errors import DataError
from tests.data.twins import CONFIG, Found, found_in, make_twin

TWIN, UNCHECKED = MsCxrOptions(expected_counts="twin"), MsCxrOptions(expected_counts="none")
TABLE = "MS_CXR_Local_Alignment_v1.0.0.csv"


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TwinStudy]]:
    folder = tmp_path_factory.mktemp("mscxr") / "twin"
    return folder, [study for study in make_twin("ms_cxr", folder) if phrases(study)]


@pytest.fixture
def copy(twin: tuple[Path, list[TwinStudy]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(twin[0], tmp_path / "copy"))


def told(found: Found) -> list[tuple[Any, ...]]:
    """Everything that the table tells of the studies; NaN as ``None``."""
    return [
        (
            study.study_id,
            study.patient_id,
            study.films[0].film_id,
            study.films[0].boxes,
            study.report,
            study.phrase_regions,
            {name: None if math.isnan(value) else value for name, value in study.labels.items()},
        )
        for study in found.studies.values()
    ]


def test_every_study_with_a_phrase_is_read_back(twin: tuple[Path, list[TwinStudy]]) -> None:
    found = found_in(MsCxrSource(twin[0], TWIN))
    assert (found.rejected, found.remarks) == ([], [])
    assert list(found.studies) == [str(50_000_000 + made.number) for made in twin[1]]
    for study, made in zip(found.studies.values(), twin[1], strict=True):
        (film,) = study.films
        assert (study.patient_id, film.film_id) == (str(10_000_000 + made.patient), dicom_name(CONFIG, made))
        assert Counter(
            (region.label, region.span.of(study.report.text).lower()) for region in study.phrase_regions
        ) == (Counter((phrase.category, phrase.text.lower()) for phrase in phrases(made)))
        for region, phrase in zip(study.phrase_regions, phrases(made), strict=True):
            edges = [(box.x_min, box.y_min, box.x_max, box.y_max) for box in phrase.boxes]
            assert [(box.x_min, box.y_min, box.x_max, box.y_max) for box in region.boxes] == edges
            assert {box.label for box in region.boxes} == {phrase.category}
        assert set(film.boxes) == {box for region in study.phrase_regions for box in region.boxes}
        present = {phrase.category for phrase in phrases(made)}
        assert {name for name, value in study.labels.items() if value == 1.0} == present
        assert all(math.isnan(study.labels[name]) for name in CATEGORIES if name not in present)
        assert film.pixels.read().shape == made.pixels.shape


def test_the_text_is_the_report_where_it_is_at_hand_and_else_the_phrases(twin: tuple[Path, list[TwinStudy]]) -> None:
    for study, made in zip(found_in(MsCxrSource(twin[0], TWIN)).studies.values(), twin[1], strict=True):
        if has_report(made):
            assert study.report.text == made.report.text
            continue
        joined = " ".join(f"{text}." for text in dict.fromkeys(phrase.text for phrase in phrases(made)))
        assert study.report.text == f"FINDINGS: {joined}"
        assert [section.name for section in study.report.sections] == ["findings"]
        assert [region.span.of(study.report.text) for region in study.phrase_regions] == [
            phrase.text for phrase in phrases(made)
        ]


def test_a_phrase_is_found_across_the_lines_of_a_report(copy: Path) -> None:
    made = next(iter(found_in(MsCxrSource(copy, TWIN)).studies.values()))
    report = next(copy.rglob(f"s{made.study_id}.txt"))
    report.write_text(report.read_text().replace(" ", "\n   ").upper())
    study = found_in(MsCxrSource(copy, TWIN)).studies[made.study_id]
    assert [" ".join(region.span.of(study.report.text).lower().split()) for region in study.phrase_regions] == [
        region.span.of(made.report.text).lower() for region in made.phrase_regions
    ]


def test_a_report_without_the_phrase_gives_way_to_the_phrases_with_a_remark(copy: Path) -> None:
    report = next(iter(sorted(copy.rglob("s*.txt"))))
    report.write_text("FINDINGS: Lungs are clear.")
    found = found_in(MsCxrSource(copy, TWIN))
    (remark,) = found.remarks
    assert (remark.study_id, remark.rule) == (report.stem[1:], "phrase_not_in_report")
    study = found.studies[report.stem[1:]]
    assert study.report.text.startswith("FINDINGS: ")
    assert "Lungs are clear" not in study.report.text


def test_films_and_reports_may_lie_elsewhere(copy: Path, tmp_path: Path) -> None:
    before = told(found_in(MsCxrSource(copy, TWIN)))
    (tmp_path / "mimic").mkdir()
    (copy / "files").rename(tmp_path / "mimic" / "files")
    with pytest.raises(DataError, match=r"missing are files/.*images=FOLDER"):
        MsCxrSource(copy, TWIN)
    elsewhere = MsCxrOptions(expected_counts="twin", images=tmp_path / "mimic")
    assert told(found_in(MsCxrSource(copy, elsewhere))) == before
    wrong = MsCxrOptions(expected_counts="twin", images=tmp_path / "mimic", reports=tmp_path)
    with pytest.raises(DataError, match=r"no report of these studies.*mimic-cxr-reports.zip"):
        found_in(MsCxrSource(copy, wrong))
    for report in (tmp_path / "mimic").rglob("s*.txt"):
        report.unlink()
    texts = [study.report.text for study in found_in(MsCxrSource(copy, elsewhere)).studies.values()]
    assert all(text.startswith("FINDINGS: ") for text in texts)


def test_reports_are_found_where_their_archive_unpacks_too(copy: Path, tmp_path: Path) -> None:
    before = told(found_in(MsCxrSource(copy, TWIN)))
    for report in list(copy.rglob("s*.txt")):
        moved = tmp_path / "mimic-cxr-reports" / report.relative_to(copy)
        moved.parent.mkdir(parents=True, exist_ok=True)
        report.rename(moved)
    assert told(found_in(MsCxrSource(copy, MsCxrOptions(expected_counts="twin", reports=tmp_path)))) == before


def test_the_json_of_the_publisher_tells_the_same_as_the_table(copy: Path) -> None:
    before = told(found_in(MsCxrSource(copy, TWIN)))
    with (copy / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    paths = list(dict.fromkeys(row["path"] for row in rows))
    sizes = {row["path"]: (int(row["image_width"]), int(row["image_height"])) for row in rows}
    content = {
        "categories": [{"id": number, "name": name} for number, name in enumerate(CATEGORIES, start=1)],
        "images": [
            {
                "id": number,
                "file_name": Path(path).name,
                "path": path,
                "width": sizes[path][0],
                "height": sizes[path][1],
            }
            for number, path in enumerate(paths)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": paths.index(row["path"]),
                "category_id": CATEGORIES.index(row["category_name"]) + 1,
                "bbox": [int(row[edge]) for edge in "xywh"],
                "label_text": row["label_text"],
            }
            for number, row in enumerate(rows)
        ],
    }
    (copy / TABLE).unlink()
    (copy / "MS_CXR_Local_Alignment_v1.0.0.json").write_text(json.dumps(content))
    assert told(found_in(MsCxrSource(copy, TWIN))) == before
    (copy / "MS_CXR_Local_Alignment_v1.0.0.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="is not the JSON of MS-CXR"):
        found_in(MsCxrSource(copy, TWIN))


def test_the_newest_table_is_read_and_its_split_kept(copy: Path) -> None:
    lines = (copy / TABLE).read_text().splitlines()
    newer = copy / "MS_CXR_Local_Alignment_v1.10.0.csv"
    newer.write_text("\n".join([f"{lines[0]},split", *(f"{line},val" for line in lines[1:])]) + "\n")
    shutil.copy(copy / TABLE, copy / "MS_CXR_Local_Alignment_v1.9.0.csv")
    assert newest_table(copy) == newer
    found = found_in(MsCxrSource(copy, TWIN))
    assert {study.attributes["publisher_split"] for study in found.studies.values()} == {"validate"}


@pytest.mark.parametrize(
    ("column", "new", "reason"),
    [
        ("category_name", "Fracture", "category_name 'Fracture' is none of Atelectasis"),
        ("label_text", "", "label_text is empty."),
        ("x", "left", "x 'left' is not a number."),
        ("w", "0", "has no area."),
        ("image_width", "0", "is stated to have"),
        ("dicom_id", "other", "is not files/p../p../s../other.jpg."),
        ("path", "files/1.jpg", "path 'files/1.jpg' is not files/p../p../s../"),
    ],
)
def test_a_broken_row_leaves_its_study_out_and_is_counted(copy: Path, column: str, new: str, reason: str) -> None:
    with (copy / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["dicom_id"] == rows[1]["dicom_id"], "so that the rest of the study goes with the row"
    study_id = Path(rows[0]["path"]).parent.name[1:]
    rows[0][column] = new
    with (copy / TABLE).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = found_in(MsCxrSource(copy, UNCHECKED))
    (left_out,) = found.rejected
    assert (left_out.study_id, left_out.rule, left_out.file, left_out.row) == (
        study_id,
        "bad_row",
        str(copy / TABLE),
        1,
    )
    assert reason in left_out.reason
    assert study_id not in found.studies
    with pytest.raises(DataError, match=r"studies: \d+ expected, \d+ found"):
        found_in(MsCxrSource(copy, TWIN))


def test_boxes_keep_their_place_on_smaller_copies_of_the_films(copy: Path, tmp_path: Path) -> None:
    stores = []
    for number in range(2):
        prepare_store(MsCxrSource(copy, TWIN), tmp_path / str(number), PrepareConfig(size=32), workers=1)
        stores.append(Store.open(tmp_path / str(number)))
        for path in copy.rglob("*.jpg"):
            with Image.open(path) as film:
                smaller = film.resize((film.width // 2, film.height // 2))
            smaller.save(path)
    whole, small = stores
    assert (len(small), small.film_count) == (len(whole), whole.film_count)
    for row in range(whole.film_count):
        before, after = whole.film(row), small.film(row)
        assert after.boxes == before.boxes
        assert after.geometry.boxes_to_prepared(after.boxes) == before.geometry.boxes_to_prepared(before.boxes)
        assert after.geometry.file_height == before.geometry.file_height // 2


def test_a_row_is_a_box_and_rows_of_one_phrase_are_one_region(twin: tuple[Path, list[TwinStudy]]) -> None:
    rows = list(phrase_rows(twin[0] / TABLE))
    regions = [region for s in found_in(MsCxrSource(twin[0], TWIN)).studies.values() for region in s.phrase_regions]
    assert len(rows) == sum(len(region.boxes) for region in regions)
    assert max(len(region.boxes) for region in regions) > 1
    np.testing.assert_array_less(len(regions), len(rows))


def test_a_table_whose_name_has_no_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MS_CXR_Local_Alignment_v.csv").write_text("dicom_id\n")
    with pytest.raises(DataError, match="have no version"):
        MsCxrSource(tmp_path, UNCHECKED)
