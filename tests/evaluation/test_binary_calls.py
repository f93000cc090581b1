"""Calls at thresholds against scikit-learn, thresholds against trying them all, draws against rows written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from crossray.errors import ConfigError, DataError
from crossray.evaluation.classification.binary import binary_counts
from crossray.evaluation.classification.operating import OperatingRule, choose_thresholds
from crossray.evaluation.intervals import bootstrap_weights
from crossray.evaluation.metrics import FloatArray
from crossray.settings import build_settings

RULES = [
    OperatingRule(kind="youden"),
    OperatingRule(kind="f1"),
    OperatingRule(kind="sensitivity", target=0.9),
    OperatingRule(kind="specificity", target=0.9),
]


def _films(n: int = 60, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Scores ``[n, 3]`` with ties, labels that follow them, a few unknown."""
    generator = np.random.default_rng(seed)
    scores = np.round(generator.random((n, 3)), 2)
    labels = (generator.random((n, 3)) < scores).astype(np.float64)
    labels[generator.random((n, 3)) < 0.1] = np.nan
    return scores, labels


def test_measures_equal_those_of_scikit_learn() -> None:
    scores, labels = _films()
    found = binary_counts(scores, labels, 0.5).measures()
    for k in range(3):
        known = ~np.isnan(labels[:, k])
        truth, called = labels[known, k], scores[known, k] >= 0.5
        expected = {
            "sensitivity": recall_score(truth, called),
            "specificity": recall_score(truth, called, pos_label=0),
            "positive predictive value": precision_score(truth, called),
            "negative predictive value": precision_score(truth, called, pos_label=0),
            "F1": f1_score(truth, called),
            "accuracy": accuracy_score(truth, called),
        }
        assert {name: values[0, k] for name, values in found.items()} == pytest.approx(expected)


def test_a_draw_of_patients_equals_the_rows_written_out_as_often() -> None:
    scores, labels = _films()
    weights = bootstrap_weights([f"p{row // 2}" for row in range(60)], draws=10, seed=0)
    found = binary_counts(scores, labels, 0.5, weights).measures()
    for draw, copies in enumerate(weights.astype(np.int64)):
        rows = np.repeat(np.arange(60), copies)
        for name, values in binary_counts(scores[rows], labels[rows], 0.5).measures().items():
            np.testing.assert_allclose(found[name][draw], values[0])


def test_rows_of_unknown_label_change_nothing() -> None:
    scores, labels = _films()
    more = binary_counts(np.concatenate([scores, scores]), np.concatenate([labels, np.full_like(labels, np.nan)]), 0.5)
    np.testing.assert_array_equal(more.f1(), binary_counts(scores, labels, 0.5).f1())


def test_what_is_not_defined_is_nan() -> None:
    found = binary_counts(np.zeros((3, 1)), np.zeros((3, 1)), 0.5).measures()
    assert np.isnan([found[name].item() for name in ("sensitivity", "positive predictive value", "F1")]).all()
    assert found["specificity"].item() == 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("seed", range(3))
def test_a_rule_chooses_what_trying_every_threshold_finds(rule: OperatingRule, seed: int) -> None:
    scores, labels = _films(seed=seed)
    for k, chosen in enumerate(choose_thresholds(scores, labels, rule)):
        best, best_value = np.inf, -np.inf
        for threshold in [np.inf, *sorted(set(scores[~np.isnan(labels[:, k]), k]), reverse=True)]:
            found = binary_counts(scores[:, [k]], labels[:, [k]], threshold).measures()
            sensitivity, specificity = found["sensitivity"].item(), found["specificity"].item()
            value = {
                "youden": sensitivity + specificity,
                "f1": float(np.nan_to_num(found["F1"].item())),
                # Among thresholds that reach the target, the one that leaves most of the other.
                "sensitivity": specificity if sensitivity >= 0.9 - 1e-9 else -1.0,
                "specificity": sensitivity + (1e-6 if specificity >= 0.9 - 1e-9 else -2.0) * len(scores),
            }[rule.kind]
            if value > best_value + 1e-12 or (rule.kind == "specificity" and value >= best_value):
                best, best_value = threshold, value
        assert chosen == best


def test_a_target_is_reached_on_validation() -> None:
    scores, labels = _films()
    for kind in ("sensitivity", "specificity"):
        rule = OperatingRule.model_validate({"kind": kind, "target": 0.8})
        thresholds = choose_thresholds(scores, labels, rule)
        assert (binary_counts(scores, labels, thresholds).measures()[kind] >= 0.8).all()


def test_a_threshold_chosen_on_validation_flatters_less_than_one_chosen_on_test() -> None:
    """On pure noise the test side's own best cut finds F1 and Youden that are not there."""
    gains = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        scores, labels = generator.random((2, 40, 1)), (generator.random((2, 40, 1)) < 0.5).astype(np.float64)
        youden = []
        for side in (0, 1):
            found = binary_counts(scores[1], labels[1], choose_thresholds(scores[side], labels[side], RULES[0]))
            youden.append(sum(found.measures()[name].item() for name in ("sensitivity", "specificity")) - 1)
        gains.append(youden)
    held_out, on_itself = np.mean(gains, axis=0)
    assert abs(held_out) < 0.05
    assert on_itself > 0.15


def test_a_fixed_threshold_needs_no_validation() -> None:
    fixed = OperatingRule(kind="fixed", target=0.5)
    np.testing.assert_array_equal(choose_thresholds(np.zeros((0, 2)), np.zeros((0, 2)), fixed), [0.5, 0.5])


def test_one_class_on_validation_and_rules_without_their_target_are_refused() -> None:
    with pytest.raises(DataError, match="label 1 has one class only"):
        choose_thresholds(np.zeros((4, 1)), np.ones((4, 1)), RULES[0])
    with pytest.raises(ConfigError, match="takes a target"):
        build_settings(OperatingRule, {"kind": "sensitivity"})
    with pytest.raises(ConfigError, match="takes no target"):
        build_settings(OperatingRule, {"kind": "youden", "target": 0.5})
    with pytest.raises(ValueError, match="NaN"):
        binary_counts(np.full((1, 1), np.nan), np.ones((1, 1)), 0.5)
    with pytest.raises(ValueError, match="differ in shape"):
        binary_counts(np.ones((2, 1)), np.ones((1, 1)), 0.5)
