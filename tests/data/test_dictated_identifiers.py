"""Identifiers as dictated reports carry them, written without a look at the patterns (``dictated/``).

A third of the sentences, every third line, was held out from the mending of the patterns that followed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from crossray.data.audit.identifiers import PATTERNS, identifiers_in

_FOLDER = Path(__file__).parent / "dictated"
PLANTS = [line.split("\t") for line in (_FOLDER / "identifiers.tsv").read_text(encoding="utf-8").splitlines()]
NEAR_MISSES = (_FOLDER / "near_misses.txt").read_text(encoding="utf-8").splitlines()

#: Not found: whom neither title, field nor credential names. Without these the patterns would name eponyms.
_NAMES_ALONE = ("patient: rodriguez, maria elena", "This is John Carver's", "Mr. B. is unchanged")


def test_there_are_enough_sentences_of_every_kind() -> None:
    assert len(PLANTS) >= 150
    assert len(NEAR_MISSES) >= 150
    assert {kind for kind, _ in PLANTS} == set(PATTERNS)


def test_identifiers_that_the_patterns_were_mended_for_are_found_as_what_they_are() -> None:
    mended = [plant for number, plant in enumerate(PLANTS) if number % 3 != 2]
    missed = [sentence for kind, sentence in mended if kind not in identifiers_in(sentence)]
    assert [sentence for sentence in missed if not sentence.startswith(_NAMES_ALONE)] == []


def test_three_quarters_of_the_sentences_held_out_are_found() -> None:
    held = PLANTS[2::3]
    assert sum(kind in identifiers_in(sentence) for kind, sentence in held) >= 38  # 28 before, of 50


@pytest.mark.parametrize("sentence", NEAR_MISSES)
def test_measurements_levels_eponyms_and_devices_are_no_identifiers(sentence: str) -> None:
    assert identifiers_in(sentence) == {}
