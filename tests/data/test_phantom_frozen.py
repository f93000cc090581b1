"""The phantom is frozen: a changed film, label or report needs a new GENERATOR_VERSION and new figures here.

Reports and labels are drawn from the bits of PCG64 and are the same on every machine. Films go through the
machine's exp, log and sin in float64 before they are rounded to 256 grey values; a last-bit difference between
two mathematics libraries reaches a rounded pixel about once in a hundred million films.
"""

from __future__ import annotations

import hashlib
import multiprocessing

import numpy as np
import pytest

from crossray.data.findings import FINDINGS
from crossray.data.phantom.build import PhantomKey, PhantomPixels, build_study, study_case
from crossray.data.phantom.case import CLASS_OF
from crossray.data.phantom.draws import Draws, Stream
from crossray.data.phantom.presets import Difficulty, preset_hash
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.split_table import SplitTable, split_table
from crossray.evaluation.protocol import protocol_for

PRESET_HASHES: dict[Difficulty, str] = {
    "easy": "d6e569729e498669aa480fc8c353ecb7837f00d73c79fca9233998108607e9df",
    "medium": "6eb44be9abca399630561b0d4d612980019e72c26552d8884452f12c1a35fd8d",
    "hard": "7e24d74bf00120ec09eea99fbe58d242fd946b96275c6f04cf5ef4f639b0ebda",
}
REPORT_HASHES: dict[Difficulty, str] = {
    "easy": "70f99b0bf51320fed4b359dee301931d3fbf03b91d6aba039a25bf8e6b5c824b",
    "medium": "f760d2c8e43f6c2e42c0debc04e5f54a9bf84252330149fbda7ada261961fa0f",
    "hard": "9c63cadbdb4e1686d97e2b60e6ca9ea56cbbf67425552b13ba34e4039b31deac",
}
FILM_HASHES: dict[Difficulty, str] = {
    "easy": "bdb5b9b1534dfc4478af069b2595a9c5b7a86fd02924730f098a58abaf96a69d",
    "medium": "1e9f2c0c4fd7a17352e2af595e43c34ab3313a00e05887cef48b150c14cd5e4c",
    "hard": "77e1c58cadeae2ab03871796d49cc54044e29eefb4cd539fa98b48f6888a52eb",
}
SPLIT_HASHES: dict[Difficulty, str] = {
    "easy": "7411f9d5075be348555467bb52543975e5421f4a818c6fa7abfa62c14428be63",
    "medium": "069e1c2628701a7a85404ded5b24855322fd31c5d5d7b611a3336a452fcd9288",
    "hard": "0117f91412d541ffd2cd33a152a3d3972d7d55525c3e96b26e6f7f05775716c0",
}
DIFFICULTIES = tuple(PRESET_HASHES)
FILMS = 4


def report_hash(difficulty: Difficulty) -> str:
    """Of the texts, labels, spans and sides of twenty studies."""
    lines = []
    for index in range(20):
        key = PhantomKey(difficulty, 2024, index, 64)
        study = build_study(key)
        spans = [(region.label, region.span.start, region.span.end) for region in study.phrase_regions]
        sides = [finding.sides for finding in study_case(key).findings]
        lines.append(repr((study.study_id, study.patient_id, study.report.text, dict(study.labels), spans, sides)))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def film_hash(difficulty: Difficulty) -> str:
    """Of the pixels of a few films."""
    digest = hashlib.sha256()
    for index in range(FILMS):
        film = PhantomPixels(PhantomKey(difficulty, 2024, index, 160)).read()
        digest.update(repr(film.shape).encode() + film.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_preset_is_the_frozen_one(difficulty: Difficulty) -> None:
    assert preset_hash(difficulty) == PRESET_HASHES[difficulty]


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_reports_and_labels_are_the_frozen_ones(difficulty: Difficulty) -> None:
    assert report_hash(difficulty) == REPORT_HASHES[difficulty]


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_films_are_the_frozen_ones(difficulty: Difficulty) -> None:
    assert film_hash(difficulty) == FILM_HASHES[difficulty]


def test_a_film_is_the_same_drawn_twice_and_in_another_process() -> None:
    films = [PhantomPixels(PhantomKey("medium", 2024, index, 160)) for index in (9, 1)]
    here = [film.read() for film in films]
    assert all(np.array_equal(film.read(), pixels) for film, pixels in zip(films, here, strict=True))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = [pool.apply(film.read) for film in reversed(films)]
    assert all(np.array_equal(pixels, again) for pixels, again in zip(here, reversed(there), strict=True))


def test_streams_of_another_purpose_number_or_seed_differ() -> None:
    keys = [(0, Stream.CASE, 1), (0, Stream.TEXT, 1), (0, Stream.CASE, 2), (1, Stream.CASE, 1)]
    first = [Draws(seed, stream, number).unit() for seed, stream, number in keys]
    assert len(set(first)) == len(keys)
    assert Draws(0, Stream.CASE, 1).unit() == first[0]


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_a_split_is_the_same_wherever_it_is_made(difficulty: Difficulty) -> None:
    source = PhantomSource(PhantomConfig(count=80, difficulty=difficulty, size=64))
    table = SplitTable.from_studies(source.studies(), source.label_names)
    split = split_table(table, test_fraction=0.3, protocol=f"phantom-{difficulty}")
    assert split.hash == SPLIT_HASHES[difficulty]


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_each_preset_has_a_protocol_of_the_findings_that_are_drawn(difficulty: Difficulty) -> None:
    protocol = protocol_for(f"phantom-{difficulty}", FINDINGS, np.zeros((0, len(FINDINGS)), np.float32))
    assert protocol.id == f"phantom-{difficulty}"
    assert set(protocol.labels) == set(CLASS_OF.values())
    assert set(protocol.common_labels) < set(protocol.labels)


def test_a_finding_too_small_for_its_film_is_reported_without_a_box() -> None:
    study = build_study(PhantomKey("hard", 0, 77, 64))
    regions = [region for region in study.phrase_regions if region.label == "Pneumothorax"]
    assert regions
    assert all(region.boxes == () for region in regions)
    assert study.labels["Pneumothorax"] == 1
    assert "Pneumothorax" not in study.films[0].masks
    assert build_study(PhantomKey("hard", 0, 77, 256)).films[0].masks.keys() >= {"Pneumothorax"}
