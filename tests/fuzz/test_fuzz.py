"""A short campaign against a running server; the long one is ``python -m tests.fuzz --count 5000``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from benchmarks.viewer.server import running_server

from crossray.methods.global_local import GlobalLocalConfig
from tests.fuzz import films
from tests.fuzz.__main__ import lines_of
from tests.fuzz.campaign import run_campaign
from tests.fuzz.harms import harmed
from tests.fuzz.questions import harmed_question
from tests.inference.test_joint_model import write_run


def test_the_same_seed_does_the_same_harm(tmp_path: Path) -> None:
    assert films.dicom(tmp_path / "a") == films.dicom(tmp_path / "b")
    whole = films.picture("png")
    once, again, other = (
        [harmed(whole["grey"], "png", whole["16 bit"], random.Random(f"{seed} {number}")) for number in range(20)]
        for seed in (0, 0, 1)
    )
    assert once == again
    assert once != other
    assert all(content != whole["grey"] for _, content in once)
    assert harmed_question("film", random.Random(3)) == harmed_question("film", random.Random(3))


@pytest.mark.slow
def test_a_server_outlives_malformed_uploads_and_questions(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", GlobalLocalConfig())
    with running_server(run, tmp_path / "log") as server:
        found = run_campaign(server, 150, seed=1)
    assert found.wrong == []
    assert sum(counts.total() for counts in found.stages.values()) == 150
    assert found.past_header > 0.5
    assert set(found.stages) == {"dicom", "png", "jpeg", "json"}
    assert any("past the header" in line for line in lines_of(found))
