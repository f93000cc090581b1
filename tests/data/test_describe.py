from __future__ import annotations

import json
from pathlib import Path

from crossray.data.describe import as_json, describe_store, description_lines
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.store import Store
from tests.data.studies import MemorySource, make_store, make_study, studies, with_report


def test_a_description_counts_what_the_store_holds(tmp_path: Path) -> None:
    same = [with_report(make_study(number), "FINDINGS: Lungs are clear.") for number in (6, 7)]
    store = make_store(tmp_path / "s", [*studies(6), *same])
    description = describe_store(store)
    assert (description.studies, description.films, description.patients) == (8, 8, 4)
    assert description.views == {"frontal": 8}
    assert description.films_a_study == {1: 8}
    assert (description.boxes, description.masks, description.phrase_regions) == (8, 8, 6)
    assert (description.distinct_texts, description.studies_sharing_a_text) == (7, 2)
    assert (description.words.smallest, description.sentences.smallest) == (3, 1)
    age, view_position = description.attributes
    assert (age.name, age.studies, len(age.values)) == ("age", 4, 4)
    assert (view_position.name, view_position.values) == ("view_position", {"PA": 4})
    edema = description.labels[1]
    assert (edema.name, edema.present, edema.absent, edema.unknown) == ("Edema", 0, 3, 5)
    assert json.loads(json.dumps(as_json(description)))["funnel"]["studies_out"] == 8


def test_the_description_is_told_in_lines(tmp_path: Path) -> None:
    lines = description_lines(describe_store(make_store(tmp_path / "s", studies(4))))
    assert "films: 4 (4 frontal); squeeze undone on 0" in lines
    assert "view_position: 2 studies (2 PA)" in lines
    assert any(line.startswith("Cardiomegaly") and "25.0%" in line for line in lines)
    assert lines[-1] == "films out: 4"


def test_attributes_of_many_values_are_counted_alone_and_empty_texts_are_not_shared(tmp_path: Path) -> None:
    silent = [with_report(make_study(number), "") for number in range(30)]
    prepare_store(MemorySource(silent, has_reports=False), tmp_path / "s", PrepareConfig(size=16), workers=1)
    description = describe_store(Store.open(tmp_path / "s"))
    assert (description.attributes[0].studies, description.attributes[0].values) == (15, {})
    assert (description.distinct_texts, description.studies_sharing_a_text) == (0, 0)
    assert "age: 15 studies" in description_lines(description)
