"""The published ways to make prompts: their counts by number, their draws by seed, and a score through the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from crossray.data.chexpert import COMPETITION_LABELS
from crossray.errors import ConfigError
from crossray.evaluation.cohort import Cohort, Part
from crossray.evaluation.metrics import FloatArray
from crossray.evaluation.models import RunModel
from crossray.evaluation.prompts import ClassPrompts, load_prompts
from crossray.evaluation.prompts.grammar import ClassGrammar
from crossray.evaluation.prompts.providers import gloria_grammar
from crossray.evaluation.protocol import EvaluationConfig
from crossray.evaluation.tasks import zero_shot_task
from crossray.settings import apply_overrides, build_settings

COUNTS = {"Atelectasis": 210, "Cardiomegaly": 15, "Consolidation": 192, "Edema": 18, "Pleural Effusion": 54}


def test_check_7_each_class_has_the_published_number_of_combinations() -> None:
    grammar = gloria_grammar()
    assert {name: len(parts.combinations()) for name, parts in grammar.classes.items()} == COUNTS
    assert tuple(grammar.classes) == COMPETITION_LABELS


def test_check_7_of_the_54_of_pleural_effusion_36_differ_and_elsewhere_all_do() -> None:
    distinct = {name: len(parts.distinct()) for name, parts in gloria_grammar().classes.items()}
    assert distinct == {**COUNTS, "Pleural Effusion": 36}


def test_parts_are_joined_in_the_order_of_their_class_without_double_blanks() -> None:
    classes = gloria_grammar().classes
    assert "mild linear atelectasis at the left lung base" in classes["Atelectasis"].distinct()
    assert "linear atelectasis at the left lung base" in classes["Atelectasis"].distinct()
    assert "small left subpulmonic pleural effusion" in classes["Pleural Effusion"].distinct()
    every = [sentence for parts in classes.values() for sentence in parts.distinct()]
    assert all(sentence == " ".join(sentence.split()) for sentence in every)
    wrong = ClassGrammar(subtype=("a", "b", "a"), location=("x", ""))
    assert wrong.combinations() == ("a x", "a", "b x", "b", "a x", "a")
    assert wrong.distinct() == ("a x", "a", "b x", "b")


def test_the_misspellings_of_the_released_lists_are_not_there() -> None:
    words = {
        word
        for prompts in load_prompts("all-combinations").classes.values()
        for s in prompts.positive
        for word in s.split()
    }
    assert words >= {"appearance", "persistent", "upper"}
    assert not words & {"apperance", "presistent", "uppper"}


def test_all_combinations_are_every_distinct_sentence() -> None:
    bank = load_prompts("all-combinations")
    assert sum(len(prompts.positive) for prompts in bank.classes.values()) == 471
    assert not any(prompts.negated for prompts in bank.classes.values())


def test_gloria5_draws_five_of_each_class_by_its_seed() -> None:
    bank, every = load_prompts("gloria5", seed=3), load_prompts("all-combinations")
    for name, prompts in bank.classes.items():
        assert len(prompts.positive) == 5
        assert set(prompts.positive) < set(every.of(name).positive)
    assert bank == load_prompts("gloria5", seed=3)
    assert bank.classes != load_prompts("gloria5", seed=4).classes
    assert bank.id == "gloria5, seed 3"


def test_nothing_global_moves_the_draw() -> None:
    first = load_prompts("gloria5", seed=0)
    np.random.default_rng(0).random(3)
    assert load_prompts("gloria5", seed=0) == first


def test_every_sentence_of_a_class_is_drawn_about_equally_often() -> None:
    drawn = [s for seed in range(400) for s in load_prompts("gloria5", seed=seed).of("Cardiomegaly").positive]
    counts = np.array([drawn.count(sentence) for sentence in set(drawn)])
    assert len(counts) == 15
    assert abs(counts / (400 * 5 / 15) - 1).max() < 0.3


def test_prior_has_one_sentence_a_class_for_chexpert_and_chestx_ray14() -> None:
    bank = load_prompts("prior_single", seed=7)
    assert bank.of("Pleural Effusion") == ClassPrompts(positive=("Pleural Effusion is observed",))
    assert bank.of("Pleural_Thickening").positive == ("Pleural Thickening is observed",)
    assert bank == load_prompts("prior_single")
    assert {len(prompts.positive) for prompts in bank.classes.values()} == {1}


def test_an_unknown_bank_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'gloria5'"):
        load_prompts("gloria")


class _Likes:
    """A model whose similarity of film and sentence is a fixed random product."""

    def similarity(self, part: Part, sentences: Sequence[str], *, purpose: str) -> tuple[FloatArray, None]:
        texts = np.stack([np.random.default_rng([*sentence.encode()]).normal(size=4) for sentence in sentences])
        return np.random.default_rng(0).normal(size=(len(part), 4)) @ texts.T, None

    def class_probabilities(self, part: Part, prompts: Sequence[str]) -> None:
        return None


def _score(*overrides: str) -> dict[str, FloatArray]:
    ids = tuple(f"s{k}" for k in range(12))
    rows = np.arange(12)
    part = Part(ids, ids, rows, rows, (), rows, np.zeros((12, 5)))
    config = build_settings(EvaluationConfig, apply_overrides({}, overrides)).zero_shot
    cells = zero_shot_task(cast(RunModel, _Likes()), Cohort("0", part, part, part, ()), COMPETITION_LABELS, config)
    return {name: cell["scores"] for name, cell in cells.items()}


def test_a_provider_is_chosen_by_its_name_in_the_settings_and_drawn_by_their_seed() -> None:
    found = _score("zero_shot.bank=gloria5", "zero_shot.aggregate=max")["max versus negated"]
    sentences = load_prompts("gloria5").of("Edema").positive
    model = _Likes()
    own = model.similarity(cast(Part, range(12)), sentences, purpose="zero_shot")[0].max(axis=1)
    np.testing.assert_allclose(found[:, COMPETITION_LABELS.index("Edema")], own, atol=1e-12)
    other = _score("zero_shot.bank=gloria5", "zero_shot.aggregate=max", "zero_shot.seed=1")["max versus negated"]
    assert not np.allclose(found, other)
    for bank in ("prior_single", "all-combinations"):
        assert _score(f"zero_shot.bank={bank}")["mean versus negated"].shape == (12, 5)


def test_standardised_scores_have_mean_0_and_deviation_1_over_the_films() -> None:
    found = _score("zero_shot.bank=gloria5", "zero_shot.normalisation=zscore")
    scores = found["mean versus negated, z-scored over the films"]
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scores.std(axis=0), 1, atol=1e-12)
