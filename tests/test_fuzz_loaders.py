"""Whatever a file holds, opening it gives a result or a ``CrossRayError``; ``benchmarks.fuzz`` executes many more."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.fuzz import Attack, campaign, execute, mutated, mutated_json
from benchmarks.fuzz_targets import TARGETS, make_attacks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossray.data.findings import label_report
from crossray.data.reports import decode_report, parse_report
from crossray.data.text import TextConfig, select_text
from crossray.errors import CrossRayError, DataError
from crossray.inference.search.index import read_vectors
from crossray.settings import apply_overrides

few = settings(max_examples=25, derandomize=True, database=None, deadline=None)
more = settings(few, max_examples=120)

#: Words that mean something to the report parser, mixed with anything.
WORDS = st.lists(
    st.sampled_from(
        ["FINDINGS:", "IMPRESSION:", "1.", "\n", "\n\n", " ", "No", "effusion", "Dr.", "___", "approx.", "T8"]
    )
    | st.text(max_size=6),
    max_size=40,
).map(" ".join)


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Attack]:
    return make_attacks(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", TARGETS)
@given(seed=st.integers(0, 2**32))
@settings(few, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_damaged_input_gives_a_result_or_an_error_of_ours(name: str, attacks: dict[str, Attack], seed: int) -> None:
    finding = execute(name, attacks[name], seed)
    assert finding is None, finding.problem


#: What campaigns found, by the seed that makes the input again.
FOUND = (
    ("manifest", 100681),  # a film's name that no file can have
    ("published", 512),  # a packed table whose packing is damaged
    ("published", 636),  # a list of files that is no text
    ("index", 678),  # a table whose texts are no UTF-8
    ("index", 20178),  # a table whose column's name is no UTF-8
    ("weights", 769),  # a torch file whose names are no UTF-8
    ("checkpoint", 86),  # a sealed state whose optimiser is none
    ("checkpoint", 111),  # a sealed state without its place
    ("results", 108),  # results that are no table
    ("tables", 572),  # an attribute that is null
    ("tables", 10282),  # a store of no studies
    ("tables", 702764),  # a film of a study so far below zero that the step to it overflows
    ("index", 703833),  # vectors of a width below one
    ("published", 701476),  # a path that is too long for the file system
    ("index", 1100466),  # vectors that claim far more than their file holds: ten seconds of filling memory
    ("run", 705727),  # an activation that transformers does not have
    ("store", 10157),  # a label's name that no text can have
)


@pytest.mark.parametrize(("name", "seed"), FOUND)
def test_what_was_found_once_is_refused_since(name: str, seed: int, attacks: dict[str, Attack]) -> None:
    finding = execute(name, attacks[name], seed)
    assert finding is None, finding.problem


def test_vectors_that_ask_for_more_memory_than_there_is_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "films.faiss").write_bytes(b"vectors")

    def full(path: str) -> None:
        raise MemoryError

    monkeypatch.setattr("faiss.read_index", full)
    with pytest.raises(DataError, match="no vectors that can be read"):
        read_vectors(tmp_path / "films.faiss")


@given(text=WORDS)
@more
def test_spans_of_any_report_lie_in_order_inside_its_text(text: str) -> None:
    report = parse_report(text)
    assert report.text == text
    sentences = [item.span for item in report.sentences]
    assert all(0 <= span.start < span.end <= len(text) for span in sentences)
    assert all(left.end <= right.start for left, right in itertools.pairwise(sentences))
    assert set(label_report(report).values()) <= {0.0, 1.0} or any(v != v for v in label_report(report).values())
    select_text(report, TextConfig())


@given(content=st.binary(max_size=400))
@more
def test_any_bytes_decode_to_text_or_are_refused(content: bytes) -> None:
    with contextlib.suppress(CrossRayError):
        assert isinstance(decode_report(content), str)


@given(override=st.text(max_size=40))
@more
def test_any_override_is_laid_over_or_refused_and_changes_nothing_given(override: str) -> None:
    given_content = {"training": {"epochs": 5}}
    with contextlib.suppress(CrossRayError):
        assert isinstance(apply_overrides(given_content, [override]), dict)
    assert given_content == {"training": {"epochs": 5}}


def test_the_same_seed_damages_in_the_same_way() -> None:
    for seed in range(30):
        first, again = (mutated(b"some content to be damaged", random.Random(seed)) for _ in range(2))
        assert first == again
    assert len({mutated(b"some content to be damaged", random.Random(seed)) for seed in range(30)}) > 20
    assert mutated_json({"a": {"b": [1]}}, random.Random(4)) == mutated_json({"a": {"b": [1]}}, random.Random(4))


def raising(error: Exception) -> Attack:
    def attack(rng: random.Random) -> object:
        raise error

    return attack


def test_other_exceptions_and_forbidden_acts_are_findings_and_ours_are_none() -> None:
    assert execute("x", raising(DataError("no.")), 0) is None
    assert execute("x", lambda rng: rng, 0) is None
    finding = execute("x", raising(KeyError("k")), 3)
    assert finding is not None
    assert (finding.target, finding.seed) == ("x", 3)
    assert "KeyError" in finding.problem
    started = execute("x", lambda rng: subprocess.run([sys.executable, "-c", ""], check=True), 0)
    assert started is not None
    assert "subprocess.Popen" in started.problem


def test_a_hang_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.fuzz.SECONDS", 1)
    hung = execute("x", lambda rng: time.sleep(30), 0)
    assert hung is not None
    assert "took more than 1 seconds" in hung.problem
    assert signal.alarm(0) == 0


def test_a_campaign_counts_executions_and_keeps_one_finding_of_a_kind() -> None:
    executions, findings = campaign({"good": lambda rng: rng, "bad": raising(KeyError("k"))}, 0.05, 0)
    assert executions["good"] == executions["bad"] > 1
    assert [item.target for item in findings] == ["bad"]
