"""The shipped prompt bank: complete, without contradictions, and read as what it says by the rule labeller."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crossray.data.findings import Mention, label_mentions
from crossray.data.reports import parse_report
from crossray.errors import ConfigError
from crossray.evaluation.prompts import load_prompts

BANK = load_prompts()
NEGATION = re.compile(r"\b(no|not|without|free|normal|clear|unremarkable|sharp)\b", re.IGNORECASE)
SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
BOTH = re.compile(r"\b(bilateral|both|bibasilar|biapical)\b", re.IGNORECASE)


def test_every_chexpert_class_has_both_kinds_of_prompts() -> None:
    assert len(BANK.classes) == 14
    assert all(len(prompts.positive) >= 3 and len(prompts.negated) >= 3 for prompts in BANK.classes.values())


@pytest.mark.parametrize("label", BANK.classes)
def test_no_prompt_contradicts_itself(label: str) -> None:
    prompts = BANK.classes[label]
    for sentence in (*prompts.positive, *prompts.negated):
        assert not (SIDE.search(sentence) and BOTH.search(sentence)), sentence
        assert not (re.search("left", sentence, re.I) and re.search("right heart", sentence, re.I)), sentence


@pytest.mark.parametrize("label", [name for name in BANK.classes if name != "No Finding"])
def test_positive_prompts_deny_nothing_and_negated_ones_do(label: str) -> None:
    prompts = BANK.classes[label]
    assert not [s for s in prompts.positive if NEGATION.search(s)]
    assert not [s for s in prompts.negated if not NEGATION.search(s)]


def test_a_bank_of_ones_own_is_read_from_a_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("id: mine\nclasses:\n  Scoliosis:\n    positive: [Scoliosis of the spine.]\n")
    assert load_prompts(file).covered(["Edema", "Scoliosis"]) == ["Scoliosis"]


def test_an_unknown_bank_or_class_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no prompt bank 'chexpart'"):
        load_prompts("chexpart")
    with pytest.raises(ConfigError, match="no class 'Hernia'"):
        BANK.of("Hernia")
    file = tmp_path / "bad.yaml"
    file.write_text("id: bad\nclasses:\n  Edema:\n    positiv: [Edema.]\n")
    with pytest.raises(ConfigError, match="positiv"):
        load_prompts(file)


@pytest.mark.parametrize("label", [name for name in BANK.classes if name != "No Finding"])
def test_the_rule_labeller_reads_the_prompts_as_meant(label: str) -> None:
    for sentence in BANK.classes[label].positive:
        assert label_mentions(parse_report(f"FINDINGS: {sentence}"))[label] is Mention.PRESENT, sentence
    for sentence in BANK.classes[label].negated:
        found = label_mentions(parse_report(f"FINDINGS: {sentence}"))
        present = {name for name, state in found.items() if state is Mention.PRESENT}
        assert present <= {"No Finding"}, sentence
        assert found[label] in (Mention.ABSENT, Mention.NONE), sentence
