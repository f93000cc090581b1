"""Runs that score together: one alone is itself, two are their mean, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossray.errors import ConfigError
from crossray.evaluation.ensemble import EnsembleFold
from crossray.evaluation.evaluate import EvaluationRequest, evaluate_runs
from crossray.evaluation.protocol import EvaluationConfig
from crossray.evaluation.rows import Evaluated
from crossray.evaluation.suite import ensemble_folds, open_evaluation
from crossray.settings import build_settings

_SETTINGS = ("protocol.draws=20", "probe.c_grid=[0.01]", "ridge.alphas=[100]")
_TASKS = "retrieval,zero_shot,probe,floors"


@pytest.fixture(scope="module")
def other(trained: Path) -> Path:
    """A second run of both folds, with another seed."""
    from crossray.training.pretrain import pretrain
    from crossray.training.recipe import Recipe, load_recipe

    out = trained / "other"
    for fold in ("fold0", "fold1"):
        recipe: Recipe = load_recipe(trained / "runs" / fold / "config.yaml", ["training.seed=1"])
        pretrain(recipe, out / fold)
    return out


def _evaluate(paths: tuple[Path, ...], out: Path, *, ensemble: bool = True) -> dict[tuple[str, ...], float | None]:
    request = EvaluationRequest(paths, out, tasks=_TASKS, settings=_SETTINGS, report=False, ensemble=ensemble)
    return {
        (row.kind, row.task, row.metric, row.target): row.value
        for row in evaluate_runs(request).rows
        if row.kind in ("model", "floor", "chance")
    }


def test_an_ensemble_of_one_has_the_figures_of_its_member(trained: Path, tmp_path: Path) -> None:
    runs = trained / "runs"
    alone = _evaluate((runs,), tmp_path / "alone", ensemble=False)
    assert len(alone) > 40
    assert _evaluate((runs,), tmp_path / "one") == pytest.approx(alone, nan_ok=True)


def test_two_members_have_the_mean_of_their_probes_and_of_their_standardised_scores(
    trained: Path, other: Path, tmp_path: Path
) -> None:
    config = build_settings(EvaluationConfig, {"probe": {"c_grid": [0.01]}, "tasks": ["retrieval", "probe"]})
    members = [open_evaluation([path], config) for path in (trained / "runs", other)]
    fold = ensemble_folds(members, tmp_path)[0]
    assert isinstance(fold, EnsembleFold)
    name = Evaluated("ensemble (2 × global_local)")
    parts = [member.probe()[member.pretrained]["scores"] for member in fold.members]
    assert not np.allclose(parts[0], parts[1])
    np.testing.assert_allclose(fold.probe()[name]["scores"], (parts[0] + parts[1]) / 2)

    test = fold.cohort.test
    total = np.zeros((len(test), len(test)))
    for member in fold.members:
        found = member.model.similarity(test, test.texts, purpose="retrieval")
        for scores in found:
            assert scores is not None
        own = sum((s - s.mean(1, keepdims=True)) / s.std(1, keepdims=True) for s in found if s is not None)
        total += (own - own.mean(1, keepdims=True)) / own.std(1, keepdims=True)
    better = (total > np.diag(total)[:, None] + 1e-12).sum(axis=1)
    np.testing.assert_array_equal(fold.retrieval()[name]["image_to_text:counts"][0], better)


def test_a_film_has_the_same_zero_shot_score_whatever_else_is_tested(
    trained: Path, other: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    config = build_settings(EvaluationConfig, {"tasks": ["zero_shot"]})
    members = [open_evaluation([path], config) for path in (trained / "runs", other)]
    fold = ensemble_folds(members, tmp_path)[0]
    whole = next(iter(fold.zero_shot_scores().values()))["scores"]
    test = fold.cohort.test
    half = replace(
        test,
        study_ids=test.study_ids[:5],
        patient_ids=test.patient_ids[:5],
        studies=test.studies[:5],
        films=test.films[:5],
        texts=test.texts[:5],
        text_groups=test.text_groups[:5],
        labels=test.labels[:5],
    )
    fold.__dict__["cohort"] = replace(fold.cohort, test=half)
    np.testing.assert_allclose(next(iter(fold.zero_shot_scores().values()))["scores"], whole[:5], rtol=1e-3, atol=1e-4)


def test_members_need_the_same_folds_and_the_same_part_of_reports(trained: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has 0, 1, .* has 0\."):
        _evaluate((trained / "runs", other / "fold0"), tmp_path / "out")
    from crossray.training.pretrain import pretrain
    from crossray.training.recipe import load_recipe

    impressions = tmp_path / "other_text"
    pretrain(load_recipe(other / "fold0" / "config.yaml", ["text.sections=[findings]"]), impressions)
    with pytest.raises(ConfigError, match="differ in text"):
        _evaluate((other / "fold0", impressions), tmp_path / "out")


def test_members_may_see_films_at_another_size(trained: Path, tmp_path: Path) -> None:
    from crossray.training.pretrain import pretrain
    from crossray.training.recipe import load_recipe

    first = trained / "runs" / "fold0"
    pretrain(load_recipe(first / "config.yaml", ["image.size=24"]), tmp_path / "small")
    config = build_settings(EvaluationConfig, {"probe": {"c_grid": [0.01]}, "tasks": ["probe"]})
    fold = ensemble_folds([open_evaluation([path], config) for path in (first, tmp_path / "small")], tmp_path / "out")[
        0
    ]
    assert isinstance(fold, EnsembleFold)
    assert [member.run.model.image.size for member in fold.members] == [32, 24]
    parts = [member.probe()[member.pretrained]["scores"] for member in fold.members]
    assert not np.allclose(parts[0], parts[1])
    (together,) = (own["scores"] for who, own in fold.probe().items() if who.kind == "model")
    np.testing.assert_allclose(together, (parts[0] + parts[1]) / 2)


def test_only_the_first_member_has_floors(trained: Path, other: Path, tmp_path: Path) -> None:
    config = build_settings(EvaluationConfig, {"probe": {"c_grid": [0.01]}, "tasks": ["probe", "floors"]})
    members = [open_evaluation([path], config) for path in (trained / "runs", other)]
    fold = ensemble_folds(members, tmp_path)[0]
    assert [who.kind for who in fold.probe()] == ["model", "floor"]
    assert isinstance(fold, EnsembleFold)
    assert ["floors" in member.config.tasks for member in fold.members] == [True, False]
