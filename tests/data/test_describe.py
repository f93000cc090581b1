from __future__ import annotations

import json
from pathlib import Path

from crossray.data.describe import as_json, describe_store, description_lines
from tests.data.studies import make_store, make_study, studies, with_report


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
    edema = description.labels[1]
    assert (edema.name, edema.present, edema.absent, edema.unknown) == ("Edema", 0, 3, 5)
    assert json.loads(json.dumps(as_json(description)))["funnel"]["studies_out"] == 8


def test_the_description_is_told_in_lines(tmp_path: Path) -> None:
    lines = description_lines(describe_store(make_store(tmp_path / "s", studies(4))))
    assert "films: 4 (4 frontal); squeeze undone on 0" in lines
    assert any(line.startswith("Cardiomegaly") and "25.0%" in line for line in lines)
    assert lines[-1] == "films out: 4"
