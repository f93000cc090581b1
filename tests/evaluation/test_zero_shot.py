"""Zero-shot scores: check 11 of global_local.md §8, the combination of §6.2, sampling by an explicit generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from crossray.evaluation.metrics import FloatArray, auroc
from crossray.evaluation.prompts import ClassPrompts, PromptBank, load_prompts
from crossray.evaluation.zero_shot import PromptScorer, ZeroShotConfig, normalise_scores, zero_shot_scores

BANK = PromptBank(
    id="toy",
    classes={
        "Edema": ClassPrompts(positive=("edema", "mild edema", "severe edema"), negated=("no edema", "without edema")),
        "Fracture": ClassPrompts(positive=("fracture", "rib fracture"), negated=("no fracture",)),
    },
)
LABELS = ["Edema", "Fracture"]
EVERY_CONFIG = [
    ZeroShotConfig.model_validate({"aggregate": aggregate, "contrast": contrast, "combine": combine})
    for aggregate in ("mean", "max")
    for contrast in ("positive", "versus_negated")
    for combine in ("mean", "global", "local")
]


def _vector(sentence: str) -> FloatArray:
    return np.random.default_rng([*sentence.encode()]).normal(size=8)


def _scorer(films: FloatArray) -> PromptScorer:
    def score(sentences: Sequence[str]) -> tuple[FloatArray, FloatArray | None]:
        texts = np.stack([_vector(sentence) for sentence in sentences])
        return np.einsum("nd,pd->np", films, texts), np.einsum("nd,pd->np", films**2, texts)

    return score


FILMS = np.random.default_rng(0).normal(size=(20, 8))


@pytest.mark.parametrize("config", EVERY_CONFIG, ids=lambda c: f"{c.name}-{c.combine}")
def test_check_11_a_score_does_not_depend_on_the_other_films(config: ZeroShotConfig) -> None:
    whole = zero_shot_scores(_scorer(FILMS), BANK, LABELS, config)
    alone = np.concatenate([zero_shot_scores(_scorer(FILMS[i : i + 1]), BANK, LABELS, config) for i in range(20)])
    np.testing.assert_allclose(whole, alone, atol=1e-12)


@pytest.mark.parametrize("config", EVERY_CONFIG, ids=lambda c: f"{c.name}-{c.combine}")
def test_check_11_shuffling_classes_permutes_columns(config: ZeroShotConfig) -> None:
    sampled = config.model_copy(update={"prompts_per_class": 1})
    for each in (config, sampled):
        forward = zero_shot_scores(_scorer(FILMS), BANK, LABELS, each)
        backward = zero_shot_scores(_scorer(FILMS), BANK, LABELS[::-1], each)
        np.testing.assert_allclose(forward, backward[:, ::-1], atol=1e-12)


def test_check_11_a_repeated_sentence_leaves_the_score_equal_and_is_refused_in_a_bank() -> None:
    films = np.random.default_rng(1).normal(size=(5, 3))
    doubled = np.concatenate([films, films[:, :1]], axis=1)
    np.testing.assert_array_equal(films.max(axis=1), doubled.max(axis=1))
    with pytest.raises(ValueError, match="twice"):
        ClassPrompts(positive=("Edema.", "edema. "))


def test_check_11_shift_and_positive_scale_of_a_class_leave_its_auc() -> None:
    labels = (np.random.default_rng(2).random(20) < 0.5).astype(np.float64)
    scores = zero_shot_scores(_scorer(FILMS), BANK, LABELS, ZeroShotConfig())[:, 0]
    assert auroc(3 * scores + 7, labels)[0] == auroc(scores, labels)[0]


def test_the_reference_score_is_the_best_half_sum_of_global_and_local() -> None:
    config = ZeroShotConfig(aggregate="max", contrast="positive", combine="mean")
    found = zero_shot_scores(_scorer(FILMS), BANK, ["Edema"], config)[:, 0]
    texts = [_vector(sentence) for sentence in BANK.of("Edema").positive]
    expected = [max(0.5 * (film @ text + film**2 @ text) for text in texts) for film in FILMS]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_method_without_local_scores_is_scored_globally() -> None:
    def score(sentences: Sequence[str]) -> tuple[FloatArray, None]:
        return _scorer(FILMS)(sentences)[0], None

    found = zero_shot_scores(score, BANK, LABELS, ZeroShotConfig())
    expected = zero_shot_scores(_scorer(FILMS), BANK, LABELS, ZeroShotConfig(combine="global"))
    np.testing.assert_array_equal(found, expected)


def test_sampling_depends_on_its_seed_and_on_nothing_else() -> None:
    bank = load_prompts()
    config = ZeroShotConfig(prompts_per_class=2, seed=1)
    np.random.default_rng(0).random(5)
    first = zero_shot_scores(_scorer(FILMS), bank, ["Edema", "Atelectasis"], config)
    second = zero_shot_scores(_scorer(FILMS), bank, ["Atelectasis"], config)
    np.testing.assert_allclose(first[:, 1], second[:, 0], atol=1e-12)
    other = zero_shot_scores(_scorer(FILMS), bank, ["Atelectasis"], config.model_copy(update={"seed": 2}))
    assert not np.allclose(second, other)


def test_check_9_standardising_leaves_the_auc_of_a_class_and_changes_which_is_called() -> None:
    raw = zero_shot_scores(_scorer(FILMS), BANK, LABELS, ZeroShotConfig()) + np.array([0.0, 50.0])
    standard = normalise_scores(raw, "zscore")
    expected = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(standard, expected, atol=1e-12)
    labels = (np.random.default_rng(2).random(20) < 0.5).astype(np.float64)
    assert auroc(standard[:, 0], labels)[0] == auroc(raw[:, 0], labels)[0]
    # A class whose scores are all higher is always called by raw scores, and like the other by standardised ones.
    assert (raw.argmax(axis=1) == 1).all()
    assert len(set(standard.argmax(axis=1).tolist())) == 2
    np.testing.assert_array_equal(normalise_scores(raw, "none"), raw)


def test_check_9_standardised_scores_depend_on_the_other_films() -> None:
    config = ZeroShotConfig(normalisation="zscore")
    whole = zero_shot_scores(_scorer(FILMS), BANK, LABELS, config)
    half = zero_shot_scores(_scorer(FILMS[:10]), BANK, LABELS, config)
    assert not np.allclose(whole[:10], half)
    alone = zero_shot_scores(_scorer(FILMS[:1]), BANK, LABELS, config)
    np.testing.assert_array_equal(alone, 0.0)


def test_settings_that_normalise_nothing_read_as_those_of_finished_results() -> None:
    assert "normalisation" not in ZeroShotConfig().model_dump(mode="json")
    assert ZeroShotConfig(normalisation="zscore").model_dump()["normalisation"] == "zscore"
    assert ZeroShotConfig.model_validate(ZeroShotConfig().model_dump()) == ZeroShotConfig()
